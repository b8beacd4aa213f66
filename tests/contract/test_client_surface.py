"""Two clients, one surface: the synchronous one is generated, and nothing is left out."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import _unasync
import servo.client
from servo._wire import METHODS, methods
from servo.client import AsyncClient, Client

ROOT = Path(__file__).parents[2]
NOUNS = tuple(Client.__annotations__)


def spoken(text: str) -> str:
    """Say what is asynchronous in the words of what is not."""
    for old, new in _unasync.PROSE:
        text = re.sub(old, new, text)
    words = {"Awaitable[str]": "str", "str | str": "str"}
    text = re.sub(r"\w+", lambda match: _unasync.NAMES.get(match[0], match[0]), text)
    for old, new in words.items():
        text = text.replace(old, new)
    return re.sub(r"\s+", " ", text).strip()


def verbs(client: type) -> Iterator[tuple[str, Any]]:
    """Yield every public name of a client and of its nouns, and what it stands for."""
    module = inspect.getmodule(client)
    for name, member in inspect.getmembers(client):
        if not name.startswith("_") or name in ("__init__",):
            yield spoken(name), member
    for noun in NOUNS:
        kind = getattr(module, client.__annotations__[noun])
        assert spoken(kind.__name__) == noun.capitalize()
        yield noun, kind
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                yield f"{noun}.{name}", member


def parameters(member: Any) -> list[tuple[str, Any, Any, str]]:
    return [
        (one.name, one.kind, one.default, spoken(str(one.annotation)))
        for one in inspect.signature(member).parameters.values()
    ]


SYNC, ASYNC = dict(verbs(Client)), dict(verbs(AsyncClient))


def test_both_clients_have_the_same_names() -> None:
    assert SYNC.keys() == ASYNC.keys()
    assert {"runs.create", "runs.watch", "deployments.deploy", "assets.list"} <= SYNC.keys()
    assert {"logs.read", "server.info", "close", "with_options", "from_settings"} <= SYNC.keys()


@pytest.mark.parametrize("name", sorted(SYNC))
def test_both_clients_take_the_same_parameters(name: str) -> None:
    if not inspect.isclass(SYNC[name]):
        assert parameters(SYNC[name]) == parameters(ASYNC[name])


@pytest.mark.parametrize("name", sorted(SYNC))
def test_both_clients_say_the_same(name: str) -> None:
    ours, twin = inspect.getdoc(ASYNC[name]), inspect.getdoc(SYNC[name])
    assert ours
    assert twin
    assert spoken(ours) == spoken(twin)


def test_what_belongs_to_a_client_comes_in_pairs() -> None:
    offered = set(servo.client.__all__)
    for name in offered:
        assert getattr(servo.client, name) is not None
    pairs = {name for name in offered if name.startswith("Async")}
    assert {_unasync.NAMES[name] for name in pairs} <= offered


def test_every_rpc_is_called_by_a_verb() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / _unasync.SOURCE).glob("*.py")
    )
    called = set(re.findall(r"\bmethods\.([A-Z_]+)\b", source))
    missing = {
        method.path
        for method in METHODS.values()
        if method.path not in {getattr(methods, name).path for name in called}
    }
    assert missing == set()


def test_no_signature_of_the_client_mentions_a_message() -> None:
    for name, member in SYNC.items():
        if not inspect.isclass(member):
            shown = str(inspect.signature(member))
            assert "_pb2" not in shown, name
            assert "protobuf" not in shown, name


# -- the generator ------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in (_unasync.SOURCE, _unasync.TWIN):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def check(root: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/_unasync.py"), "--check", "--root", str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_twin_is_what_the_source_says() -> None:
    assert check(ROOT) == (0, "")


def test_an_edited_source_is_noticed(copy: Path) -> None:
    path = copy / _unasync.SOURCE / "_runs.py"
    edited = path.read_text().replace("def cancel(", "def stop(", 1)
    assert edited != path.read_text()
    path.write_text(edited)
    code, said = check(copy)
    assert code == 1
    assert "_sync/_runs.py: not what the source says" in said
    assert _unasync.REMEDY in said


def test_an_edited_twin_is_noticed_and_made_again(copy: Path) -> None:
    path = copy / _unasync.TWIN / "_logs.py"
    before = path.read_text()
    path.write_text(before + "# by hand\n")
    assert check(copy)[0] == 1
    assert _unasync.main(["--root", str(copy)]) == 0
    assert path.read_text() == before


@pytest.mark.parametrize("change", ["delete", "add"])
def test_a_module_too_few_or_too_many_is_noticed(change: str, copy: Path) -> None:
    path = copy / _unasync.TWIN / ("_logs.py" if change == "delete" else "_more.py")
    if change == "delete":
        path.unlink()
    else:
        path.write_text("")
    assert check(copy)[0] == 1
    assert _unasync.main(["--root", str(copy)]) == 0
    assert check(copy) == (0, "")


def test_a_word_of_asyncio_that_is_left_is_an_error(copy: Path) -> None:
    path = copy / _unasync.SOURCE / "_server.py"
    path.write_text(path.read_text() + "\n\nasync def nap() -> None:\n    await asyncio.sleep(1)\n")
    done = _unasync.main(["--root", str(copy)])
    assert done == 2


def test_words_are_replaced_and_strings_keep_theirs() -> None:
    found = _unasync.to_sync(
        "async def f(x: Awaitable[dict[str, int]]) -> AsyncGenerator[Event, None]:\n"
        '    """Await ``async with`` and await it."""\n'
        "    async with aclosing(x) as y:\n"
        "        async for z in y:  # async for every one\n"
        "            yield (await z)\n",
        name="m.py",
    )
    assert found == (
        "def f(x: dict[str, int]) -> Generator[Event, None, None]:\n"
        '    """Await ``with`` and it."""\n'
        "    with closing(x) as y:\n"
        "        for z in y:  # for every one\n"
        "            yield (z)\n"
    )
