"""Renaming an asset, in any order of the steps and from two terminals: one id, one key, kept."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from plane_kit import asset
from project_files import WriteFiles
from servo import errors
from servo.controlplane.deployments import _assign_ids
from servo.manifest import Lockfile, Project, build_project
from servo.manifest.builder import resolve_ids
from servo.manifest.manifest import AssetManifest
from servo.manifest.pipeline import reserve_ids
from servo.types import AssetDefinition, AssetId, AssetKey

ONE = AssetId("01ARZ3NDEKTSV4RRFFQ69G5FAV")
TWO = AssetId("01BX5ZZKBKACTAV9WEVGEMMVRZ")
THREE = AssetId("01BX5ZZKBKACTAV9WEVGEMMVS0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def saved(path: Path, ids: dict[str, str]) -> Lockfile:
    Lockfile(ids).save(path)
    return Lockfile.load(path)


def build(lockfile: Lockfile, *keys: str) -> dict[str, str]:
    """Do with a lockfile what a build does whose code has some assets; return their ids."""
    definitions = tuple(asset(key) for key in sorted(keys))
    ids = resolve_ids(lockfile, definitions, mint=False)
    manifest = AssetManifest(
        assets=tuple(dataclasses.replace(one, id=ids.get(str(one.key))) for one in definitions)
    )
    return {str(one.key): str(one.id) for one in reserve_ids(manifest, lockfile).assets}


def test_code_that_still_has_the_old_name_keeps_the_id(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.new")
    lockfile.save()
    assert build(Lockfile.load(path), "a.old") == {"a.old": ONE}
    assert build(Lockfile.load(path), "a.old", "a.other")["a.old"] == ONE
    assert build(Lockfile.load(path), "a.new") == {"a.new": ONE}


def test_a_rename_that_the_code_shows_is_pending_no_longer(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.new")
    lockfile.save()
    assert json.loads(path.read_text())["renamedFrom"] == {"a.new": ["a.old"]}
    build(Lockfile.load(path), "a.new")
    assert json.loads(path.read_text()) == {"assetIds": {"a.new": ONE}, "version": "1.0"}


def test_code_with_both_names_is_refused_with_what_to_do(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.new")
    lockfile.save()
    before = path.read_bytes()
    with pytest.raises(errors.DefinitionError, match=r"servo asset rename a\.new a\.old"):
        build(Lockfile.load(path), "a.old", "a.new")
    assert path.read_bytes() == before


def test_assets_that_were_renamed_in_a_chain_are_found_by_either_name(path: Path) -> None:
    lockfile = saved(path, {"a.a": ONE, "a.b": TWO})
    lockfile.rename("a.b", "a.c")
    lockfile.rename("a.a", "a.b")
    lockfile.save()
    for keys in (("a.a", "a.b"), ("a.a", "a.c"), ("a.b", "a.c")):
        assert build(Lockfile.load(path), *keys) == dict(zip(keys, (ONE, TWO), strict=True))
        lockfile.save()


def test_a_rename_with_a_slip_is_put_right_by_another(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.nwe")
    assert lockfile.rename("a.old", "a.new") == ONE
    assert lockfile.rename("a.old", "a.new") == ONE
    lockfile.save()
    assert build(Lockfile.load(path), "a.old") == {"a.old": ONE}
    assert dict(Lockfile.load(path).asset_ids) == {"a.new": ONE}


def test_a_rename_can_be_taken_back(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.new")
    lockfile.rename("a.new", "a.old")
    lockfile.save()
    assert build(Lockfile.load(path), "a.old") == {"a.old": ONE}
    assert json.loads(path.read_text()) == {"assetIds": {"a.old": ONE}, "version": "1.0"}


def test_a_rename_that_replaces_gives_up_the_other_id(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE, "a.new": TWO})
    assert lockfile.rename("a.old", "a.new", replace=True) == ONE
    lockfile.save()
    assert dict(Lockfile.load(path).asset_ids) == {"a.new": ONE}


def test_a_rename_that_another_process_has_made_already_is_one_rename(path: Path) -> None:
    mine, other = saved(path, {"a.old": ONE}), Lockfile.load(path)
    mine.rename("a.old", "a.new")
    other.rename("a.old", "a.new")
    other.save()
    mine.save()
    assert dict(Lockfile.load(path).asset_ids) == {"a.new": ONE}


def test_a_rename_does_not_take_the_id_that_another_process_gave_the_new_key(path: Path) -> None:
    mine, other = saved(path, {"a.old": ONE}), Lockfile.load(path)
    mine.rename("a.old", "a.new")
    minted, _ = other.get_or_create("a.new")
    other.save()
    mine.save()
    assert dict(mine.asset_ids) == {"a.old": ONE, "a.new": minted}


def test_what_another_process_renamed_is_not_written_back(path: Path) -> None:
    mine, other = saved(path, {"a.old": ONE}), Lockfile.load(path)
    other.rename("a.old", "a.new")
    other.save()
    mine.get_or_create("a.mine")
    mine.save()
    assert set(Lockfile.load(path).asset_ids) == {"a.new", "a.mine"}


def test_an_id_is_not_minted_for_what_another_process_renamed_meanwhile(path: Path) -> None:
    mine = saved(path, {})
    other = saved(path, {"a.old": ONE})
    other.rename("a.old", "a.new")
    other.save()
    assert build(mine, "a.old") == {"a.old": ONE}


def test_an_answer_moves_an_id_instead_of_doubling_it(path: Path) -> None:
    lockfile = saved(path, {"a.new": ONE, "a.old": TWO})
    assert lockfile.update_from_server({"a.old": ONE})
    lockfile.save()
    assert dict(Lockfile.load(path).asset_ids) == {"a.old": ONE}


def test_an_answer_under_the_former_key_leaves_the_rename_alone(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.new")
    lockfile.save()
    assert not lockfile.update_from_server({"a.old": ONE})
    assert dict(lockfile.asset_ids) == {"a.new": ONE}


def test_an_answer_that_swaps_two_ids_is_taken_over(path: Path) -> None:
    lockfile = saved(path, {"a.a": ONE, "a.b": TWO})
    assert lockfile.update_from_server({"a.a": TWO, "a.b": ONE})
    lockfile.save()
    assert dict(Lockfile.load(path).asset_ids) == {"a.a": TWO, "a.b": ONE}


def test_a_file_that_was_deleted_meanwhile_loses_no_id(path: Path) -> None:
    lockfile = saved(path, {"a.a": ONE})
    path.unlink()
    lockfile.get_or_create("a.b")
    lockfile.save()
    assert Lockfile.load(path).asset_ids["a.a"] == ONE


def test_saving_elsewhere_takes_all_ids_along(path: Path, tmp_path: Path) -> None:
    lockfile = saved(path, {"a.a": ONE})
    other = tmp_path / "other.json"
    Lockfile({"a.b": TWO}).save(other)
    lockfile.save(other)
    assert dict(Lockfile.load(other).asset_ids) == {"a.a": ONE, "a.b": TWO}


@pytest.mark.parametrize(
    "renamed", ["[]", '{"a.x": ["a.old"]}', '{"a.new": []}', '{"a.new": ["Wrong"]}', '{"a.new": 7}']
)
def test_renames_that_make_no_sense_are_an_error_with_file_and_line(
    path: Path, renamed: str
) -> None:
    path.write_text(
        f'{{\n"assetIds": {{"a.new": "{ONE}"}},\n"renamedFrom": {renamed},\n"version": "1.1"\n}}'
    )
    with pytest.raises(errors.LockfileError, match=r"line 3, has .*renamedFrom"):
        Lockfile.load(path)


def test_a_lockfile_with_a_pending_rename_prints_as_it_was_read(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE, "a.other": TWO})
    lockfile.rename("a.old", "a.new")
    lockfile.save()
    text = path.read_text()
    again = Lockfile.load(path)
    again.get_or_create("a.other")
    again.save()
    assert path.read_text() == text
    assert again.former_keys == {"a.new": ("a.old",)}


# -- lockfiles that older versions ruined ------------------------------------------------------


def ruined(path: Path) -> Path:
    path.write_text(
        json.dumps({"assetIds": {"a.new": ONE, "a.old": ONE, "a.x": TWO}, "version": "1.0"})
    )
    return path


def test_the_error_names_the_command_that_repairs(path: Path) -> None:
    with pytest.raises(errors.LockfileError, match="servo asset repair"):
        Lockfile.load(ruined(path))


def test_a_repair_leaves_the_id_to_one_key(path: Path) -> None:
    assert Lockfile.doubled(ruined(path)) == {ONE: ("a.new", "a.old")}
    Lockfile.repair(path, {ONE: "a.new"})
    assert dict(Lockfile.load(path).asset_ids) == {"a.new": ONE, "a.x": TWO}
    assert Lockfile.doubled(path) == {}


def test_a_repair_that_does_not_name_every_id_changes_nothing(path: Path) -> None:
    before = ruined(path).read_bytes()
    with pytest.raises(errors.ConflictError, match="changed meanwhile"):
        Lockfile.repair(path, {TWO: "a.x"})
    assert path.read_bytes() == before


def test_no_lockfile_needs_no_repair(path: Path) -> None:
    assert Lockfile.doubled(path) == {}


# -- random orders -----------------------------------------------------------------------------

NAMES = ("a.one", "a.two", "a.three")
OTHERS = ("a.other", "a.more")


class Renames(RuleBasedStateMachine):
    """One function under changing names, two terminals, one control plane.

    A terminal's build may stand still between its steps while the other goes on. The function's
    name in the code and the names that the lockfile is told of change in any order.
    """

    builds = Bundle("builds")
    deploys = Bundle("deploys")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "state.json"
        self.server: dict[str, str] = {}
        self.name = NAMES[0]
        self.others: frozenset[str] = frozenset({OTHERS[0]})
        self.id = build(Lockfile.load(self.path), *self.code)[self.name]
        self.send({key: str(Lockfile.load(self.path).asset_ids[key]) for key in self.code})

    def teardown(self) -> None:
        self.folder.cleanup()

    @property
    def code(self) -> frozenset[str]:
        return self.others | {self.name}

    def send(self, ids: dict[str, str]) -> dict[str, str]:
        """Let the control plane take a manifest; return what it answers."""
        assets = [asset(key, id=AssetId(one)) for key, one in ids.items()]
        moved = _assign_ids(assets, self.server)
        taken = set(moved.values())
        self.server = {k: one for k, one in self.server.items() if one not in taken} | moved
        return {key: self.server[key] for key in ids if self.server[key] != ids[key]}

    @rule(name=st.sampled_from(NAMES))
    def edit_the_function(self, name: str) -> None:
        self.name = name

    @rule(others=st.frozensets(st.sampled_from(OTHERS)))
    def edit_other_functions(self, others: frozenset[str]) -> None:
        self.others = others

    @rule()
    def tell_of_the_rename(self) -> None:
        """``servo asset rename`` from whatever the asset is called to what it is in the code."""
        self.rename(self.name)

    @rule(new=st.sampled_from(NAMES))
    def tell_of_a_rename_before_it_is_made(self, new: str) -> None:
        self.rename(new)

    def rename(self, new: str) -> None:
        lockfile = Lockfile.load(self.path)
        old = next((key for key, one in lockfile.asset_ids.items() if one == self.id), None)
        # What a former build gave the new name has no history here, so it may go.
        if old is not None and old != new:
            lockfile.rename(old, new, replace=True)
            lockfile.save()

    @rule(target=builds)
    def begin_a_build(self) -> tuple[Lockfile, frozenset[str]]:
        return Lockfile.load(self.path), self.code

    @rule(target=deploys, begun=consumes(builds))
    def end_a_build(self, begun: tuple[Lockfile, frozenset[str]]) -> dict[str, str]:
        lockfile, code = begun
        try:
            return build(lockfile, *code)
        except errors.DefinitionError:
            return {}

    @rule(ids=consumes(deploys))
    def deploy(self, ids: dict[str, str]) -> None:
        answer = self.send(ids) if ids else {}
        if answer:
            lockfile = Lockfile.load(self.path)
            if lockfile.update_from_server(answer):
                lockfile.save()

    @rule()
    def build_and_deploy(self) -> None:
        self.deploy(self.end_a_build(self.begin_a_build()))

    @invariant()
    def the_lockfile_loads_and_no_id_has_two_keys(self) -> None:
        ids = Lockfile.load(self.path).asset_ids
        assert len(set(ids.values())) == len(ids)
        assert self.id in ids.values()
        assert len(set(self.server.values())) == len(self.server)

    @rule()
    def tell_build_deploy(self) -> None:
        """Whatever happened before: told of the rename, the function has its history again."""
        self.rename(self.name)
        self.build_and_deploy()
        assert self.server[self.name] == self.id
        assert Lockfile.load(self.path).resolve(self.code)[self.name] == self.id


TestRenames = Renames.TestCase
TestRenames.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(st.permutations(["rename", "edit", "build", "build", "build"]))
@settings(max_examples=20, deadline=None)
def test_in_any_order_of_renaming_editing_and_building_the_id_is_kept(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.json"
        name = "a.old"
        first = build(Lockfile.load(path), name)[name]
        for step in steps:
            if step == "edit":
                name = "a.new"
            elif step == "build":
                build(Lockfile.load(path), name)
            else:
                lockfile = Lockfile.load(path)
                lockfile.rename("a.old", "a.new", replace=True)
                lockfile.save()
        assert build(Lockfile.load(path), name) == {"a.new": first}
        assert dict(Lockfile.load(path).asset_ids) == {"a.new": first}


STEPS = """
import random, sys
from servo import errors
from servo.manifest import Lockfile
path, seed = sys.argv[1:]
chance = random.Random(int(seed))
sys.stdin.readline()
for _ in range(30):
    lockfile = Lockfile.load(path)
    old = next(key for key in lockfile.asset_ids if key.startswith("a."))
    if chance.random() < 0.5:
        lockfile.rename(old, chance.choice(["a.x", "a.y", "a.z"]))
    else:
        lockfile.get_or_create(f"b.n{seed}_{chance.randrange(9)}")
    lockfile.save()
"""


def test_two_processes_that_rename_at_once_never_ruin_the_lockfile(path: Path) -> None:
    saved(path, {"a.x": ONE})
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STEPS, str(path), str(seed)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        for seed in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    ids = Lockfile.load(path).asset_ids
    assert [one for key, one in ids.items() if key.startswith("a.")] == [ONE]


BODY = """
    from servo import asset

    @asset
    def NAME(ctx): return None
"""


def test_a_build_of_a_project_goes_on_under_the_old_name_until_the_function_is_renamed(
    write: WriteFiles,
) -> None:
    root = write({"assets/a.py": BODY.replace("NAME", "old")})
    project = Project.load(root, environ={})
    (first,) = build_project(project, frozen=False).assets
    lockfile = Lockfile.load(project.lockfile_path)
    lockfile.rename("a.old", "a.new")
    lockfile.save()
    (again,) = build_project(project, frozen=True).assets
    assert (again.key, again.id) == (AssetKey("a", "old"), first.id)


RENAMED: tuple[AssetDefinition, ...] = (asset("a.new", renamed_from=AssetKey("a", "old")),)


def test_renamed_from_follows_a_rename_to_another_name(path: Path) -> None:
    lockfile = saved(path, {"a.old": ONE})
    lockfile.rename("a.old", "a.mid")
    lockfile.save()
    assert resolve_ids(Lockfile.load(path), RENAMED, mint=False) == {"a.new": ONE}
