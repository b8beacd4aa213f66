"""docs/contract: the reference says what the protos say, and every link leads somewhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import _contract_docs
import _regen
from markdown_blocks import blocks
from messages import FILES, MESSAGES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/contract"
COMMENTS = json.loads((ROOT / _regen.GENERATED / _regen.COMMENTS).read_text(encoding="utf-8"))
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def names() -> Iterator[str]:
    """The full name of everything that the contract declares."""
    for file in FILES:
        yield file.name
        for enum in file.enum_types_by_name.values():
            yield enum.full_name
            yield from (f"{enum.full_name}.{value.name}" for value in enum.values)
        for service in file.services_by_name.values():
            yield service.full_name
            yield from (method.full_name for method in service.methods)
    for message in MESSAGES:
        yield message.full_name
        yield from (field.full_name for field in message.fields)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return _contract_docs.Reference(ROOT).pages()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("proto", "docs/contract"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in _regen.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_everything_that_is_declared_has_a_comment() -> None:
    assert [name for name in names() if not COMMENTS.get(name)] == []


def test_the_committed_pages_are_current(tree: Path) -> None:
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 0


def test_a_reworded_comment_makes_its_page_stale_and_writing_puts_it_right(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = tree / "proto/arco/v1/server.proto"
    text = proto.read_text(encoding="utf-8")
    proto.write_text(text.replace("// Who is there.", "// Who answers."), encoding="utf-8")
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 1
    said = capsys.readouterr().err
    assert "docs/contract/reference/server.md: not what the protos say" in said
    assert _contract_docs.REMEDY in said
    assert _contract_docs.main(["--root", str(tree)]) == 0
    assert "Who answers." in (tree / "docs/contract/reference/server.md").read_text("utf-8")
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 0


def test_a_missing_page_and_one_of_no_proto_are_named_and_put_right(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tree / "docs/contract/reference"
    (folder / "log.md").unlink()
    (folder / "gone.md").write_text("# gone.proto\n", encoding="utf-8")
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 1
    said = capsys.readouterr().err
    assert "log.md: missing" in said
    assert "gone.md: no proto file has this page" in said
    assert _contract_docs.main(["--root", str(tree)]) == 0
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 0


def test_a_proto_that_does_not_compile_ends_with_bufs_own_words(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "proto/arco/v1/log.proto").write_text("message {", encoding="utf-8")
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 2
    assert "log.proto" in capsys.readouterr().err


def test_every_declared_name_is_on_the_page_of_its_file(pages: dict[str, str]) -> None:
    for file in FILES:
        page = pages[f"{Path(file.name).stem}.md"]
        for one in (
            *file.message_types_by_name.values(),
            *file.enum_types_by_name.values(),
            *file.services_by_name.values(),
        ):
            assert f"\n## {one.name}\n\n{COMMENTS[one.full_name]}\n" in page
        for message in file.message_types_by_name.values():
            for field in message.fields:
                assert f"| {field.number} | `{field.name}` | `{field.json_name}` | " in page


def test_the_shape_of_a_field_is_said(pages: dict[str, str]) -> None:
    asset = pages["asset.md"]
    assert "| `tags` | `tags` | map of string to string | Labels. |" in asset
    assert "| `checks` | `checks` | list of [Check](#check) | " in asset
    assert "| `code_version` | `codeVersion` | string, optional | " in asset
    assert "| `key` | `key` | [AssetKey](common.md#assetkey) | " in asset
    assert "One of `time`, `static`, `tenant` (`kind`): " in asset
    assert "| stream of [OpenSessionRequest](#opensessionrequest) | " in pages["worker.md"]
    assert "| `started_at` | `startedAt` | google.protobuf.Timestamp | " in pages["run.md"]


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in blocks(text):
        text = text.replace(block.body, "")
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target
