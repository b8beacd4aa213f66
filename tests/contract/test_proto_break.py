"""scripts/prove_proto_break.sh: it can fail, and its mutants are those of today's protos."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import _prove_proto_break
from _mutants import HARMLESS, MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
ADDED_FIELD = next(mutant for mutant in MUTANTS if mutant.name == "add a field")


@pytest.mark.parametrize("mutant", (*MUTANTS, HARMLESS), ids=lambda mutant: mutant.name)
def test_every_mutant_applies_to_the_protos_as_they_are(mutant: Mutant) -> None:
    assert mutant.edited(ROOT) != (ROOT / "proto/arco/v1" / mutant.file).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_edit_that_no_gate_notices_or_not_the_right_one_fails_the_script(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The first is green everywhere, and so the tree is without any edit; buf is right to let the
    # second pass.
    misjudged = replace(ADDED_FIELD, noticed_by=("proto-breaking", "test_totality"))
    code = _prove_proto_break.main(["--json"], mutants=(HARMLESS, misjudged))
    said = capsys.readouterr()
    survivor, missed = json.loads(said.out)
    assert code == 1
    assert (survivor["outcome"], survivor["findings"]) == ("SURVIVED", [])
    assert (missed["outcome"], missed["missing"]) == ("MISSED", ["proto-breaking"])
    assert "test_totality" in [finding["gate"] for finding in missed["findings"]]
    assert "'reword a comment' SURVIVED" in said.err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_tree_that_is_red_already_proves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    _prove_proto_break.copy_tree(ROOT, tree)
    shutil.copy(tree / "proto/baseline.binpb", tree / "tests/golden/manifest.json")
    code = _prove_proto_break.main(["--root", str(tree)], mutants=(ADDED_FIELD,))
    said = capsys.readouterr()
    assert code == 2
    assert "test_golden: test_the_manifest_is_the_committed_one" in said.err
    assert said.out == ""


def test_a_mutant_that_no_longer_applies_is_an_error_that_names_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = replace(HARMLESS, old="// What nobody wrote.")
    assert _prove_proto_break.main([], mutants=(gone,)) == 2
    assert "the mutant 'reword a comment' does not apply" in capsys.readouterr().err


def test_an_unknown_mutant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _prove_proto_break.main(["rename everything"])
    assert "rename everything" in capsys.readouterr().err
