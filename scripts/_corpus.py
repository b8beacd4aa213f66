"""Write the conformance corpus, or tell that it is not what its cases say.

Each case is a message: ``tests/contract/corpus`` holds its bytes in ``CASE.binpb`` and its
canonical JSON in ``CASE.json``, and ``index.json`` there says what it is for. Every implementation
of the contract reads both and writes the other. For some cases ``tests/golden/wire`` holds the
bytes once more, one field a line with its meaning. The cases are in ``scripts/_corpus_cases``.

All of it is committed: that a change of the code or of a proto changes it is for people to see.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from _corpus_cases import CASES, Case
from _wire_dump import dump
from servo import _wire, errors
from servo._gen._pool import POOL
from servo._wire.canonical import print_message
from servo.types import PartitionKey
from servo.types.manifests import ManifestContents

ROOT = Path(__file__).resolve().parent.parent
CORPUS = Path("tests/contract/corpus")
WIRE = Path("tests/golden/wire")
INDEX = "index.json"
SESSION = ("WorkerMessage", "ServerMessage", "OpenSessionRequest", "OpenSessionResponse")
SHOWN = ("manifest", "partition-key-every-kind")
EDGES = ("empty-", "unknown-")
REMEDY = "if that is meant, run `.venv/bin/python scripts/_corpus.py` and commit what it changes"


def message_of(case: Case) -> Message:
    """Build the message of a case.

    Raises:
        ValueError: its value does not fit its type.
    """
    descriptor = POOL.FindMessageTypeByName(f"arco.v1.{case.type}")
    message = GetMessageClass(descriptor)()
    try:
        json_format.ParseDict(case.value, message)
    except json_format.ParseError as error:
        raise ValueError(f"case {case.name!r} is no {case.type}: {error}") from error
    message.MergeFromString(case.extra)
    return message


def fingerprint_of(case: Case, text: str) -> str | None:
    """Return the fingerprint of a message of a type that has one."""
    match case.type:
        case "PartitionKey":
            return _key_fingerprint(text)
        case "AssetManifest":
            return _wire.manifest_fingerprint(_wire.from_json(ManifestContents, text))
    return None


def _key_fingerprint(text: str) -> str | None:
    try:
        return _wire.from_json(PartitionKey, text).fingerprint()
    except errors.InvalidArgumentError:
        # The map of the message can hold what is no partition key: nothing is fingerprinted then.
        return None


def is_shown(case: Case) -> bool:
    """Tell whether the bytes of a case are also shown field by field."""
    return case.name in SHOWN or (case.type in SESSION and not case.name.startswith(EDGES))


def files() -> dict[Path, bytes]:
    """Make every file, by its path below the repository.

    Raises:
        ValueError: two cases have one name, or one does not fit its type.
    """
    made: dict[Path, bytes] = {}
    rows: list[dict[str, Any]] = []
    for case in CASES:
        if CORPUS / f"{case.name}.binpb" in made:
            raise ValueError(f"two cases are called {case.name!r}; rename one of them")
        message = message_of(case)
        text = print_message(message)
        binary = message.SerializeToString(deterministic=True)
        made[CORPUS / f"{case.name}.binpb"] = binary
        made[CORPUS / f"{case.name}.json"] = text.encode()
        if is_shown(case):
            made[WIRE / f"{case.name}.txt"] = dump(message).encode()
        rows.append(row_of(case, binary, text))
    rows.sort(key=lambda row: str(row["case"]))
    shown = json.dumps(rows, indent=2, sort_keys=True, ensure_ascii=False)
    return made | {CORPUS / INDEX: f"{shown}\n".encode()}


def row_of(case: Case, binary: bytes, text: str) -> dict[str, Any]:
    """Say in the index what a case is."""
    row: dict[str, Any] = {
        "case": case.name,
        "type": f"arco.v1.{case.type}",
        "sha256": hashlib.sha256(binary).hexdigest(),
        "note": case.note,
        "cannot": dict(case.cannot),
    }
    if (fingerprint := fingerprint_of(case, text)) is not None:
        row["fingerprint"] = fingerprint
    if case.json_gives:
        row["jsonGives"] = case.json_gives
    return row


def differences(made: dict[Path, bytes], root: Path) -> list[str]:
    """Name each file in which what is on disk differs from what was made."""
    found = present(root)
    said = []
    for path in sorted(made.keys() | found):
        if path not in found:
            said.append(f"{path.as_posix()}: missing")
        elif path not in made:
            said.append(f"{path.as_posix()}: belongs to no case")
        elif (root / path).read_bytes() != made[path]:
            said.append(f"{path.as_posix()}: has other bytes")
    return said


def present(root: Path) -> set[Path]:
    """List the files on disk, by their paths below the repository."""
    folders = [root / folder for folder in (CORPUS, WIRE) if (root / folder).is_dir()]
    return {path.relative_to(root) for folder in folders for path in folder.iterdir()}


def write(made: dict[Path, bytes], root: Path) -> None:
    """Make the folders hold these files and no others."""
    for path in present(root) - made.keys():
        (root / path).unlink()
    for path, content in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def main(arguments: list[str] | None = None) -> int:
    """Run the script: 0 written or current, 1 not current."""
    parser = argparse.ArgumentParser(prog="scripts/_corpus.py", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    options = parser.parse_args(arguments)
    made = files()
    said = differences(made, options.root)
    for line in said:
        print(line, file=sys.stderr if options.check else sys.stdout)
    if options.check:
        if said:
            print(f"corpus: {REMEDY}", file=sys.stderr)
        return 1 if said else 0
    write(made, options.root)
    print(f"{len(CASES)} cases, {sum(map(len, made.values())):,} bytes, {len(said)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
