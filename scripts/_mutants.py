"""Edits of the contract that the build has to notice, each a break of its own kind.

`_prove_proto_break` makes them one at a time in a copy of the tree. They are texts, so that they
read like the edits a person makes; one that no longer applies is an error, never skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("proto/arco/v1")


class MutantError(Exception):
    """A mutant does not apply to the protos as they are now."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of one file.

    Attributes:
        name: What kind of edit it is.
        file: The file below ``proto/arco/v1``.
        old: Text that occurs once in it.
        new: What stands there instead.
        noticed_by: Gates that have to be red, whichever others are. Where the first is not
            ``proto-breaking``, buf is right to let the edit pass; where others follow it, they
            are what is left once the baseline was moved.
    """

    name: str
    file: str
    old: str
    new: str
    noticed_by: tuple[str, ...]

    def edited(self, root: Path) -> str:
        """Return the text of the file in the tree at `root` after the edit.

        Raises:
            MutantError: The old text is not there exactly once.
        """
        path = FOLDER / self.file
        text = (root / path).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise MutantError(
                f"the mutant {self.name!r} does not apply: {self.old!r} occurs "
                f"{text.count(self.old)} times in {path.as_posix()}; bring it up to date in "
                f"scripts/_mutants.py"
            )
        return text.replace(self.old, self.new)

    def apply(self, root: Path) -> None:
        """Make the edit in the tree at `root`.

        Raises:
            MutantError: The old text is not there exactly once.
        """
        text = self.edited(root)
        (root / FOLDER / self.file).write_text(text, encoding="utf-8")


MUTANTS = (
    Mutant(
        "rename a field",
        "asset.proto",
        "string description = 3;",
        "string summary = 3;",
        ("proto-breaking", "types", "test_golden"),
    ),
    Mutant(
        "change the type of a field",
        "asset.proto",
        "int32 line_number = 4;",
        "int64 line_number = 4;",
        ("proto-breaking", "test_golden"),
    ),
    Mutant(
        "change a field to another kind of type",
        "asset.proto",
        "string code_version = 13;",
        "bytes code_version = 13;",
        ("proto-breaking", "types"),
    ),
    Mutant(
        "renumber a field",
        "manifest.proto",
        "string workspace_id = 3;",
        "string workspace_id = 11;",
        ("proto-breaking", "test_golden_wire"),
    ),
    Mutant(
        "drop a field",
        "run.proto",
        "  // The class of the exception, when there was one.\n  string error_type = 5;\n",
        "",
        ("proto-breaking", "types"),
    ),
    Mutant(
        "remove an enum value",
        "asset.proto",
        "  // LZ4 (raw).\n  COMPRESSION_LZ4 = 4;\n",
        "",
        ("proto-breaking", "test_totality"),
    ),
    Mutant(
        "rename an enum value",
        "run.proto",
        "RUN_STATE_TIMED_OUT = 7;",
        "RUN_STATE_EXPIRED = 7;",
        ("proto-breaking", "test_totality"),
    ),
    Mutant(
        "add an enum value",
        "run.proto",
        "RUN_STATE_TIMED_OUT = 7;",
        "RUN_STATE_TIMED_OUT = 7;\n  // Waits for somebody to say yes.\n  RUN_STATE_HELD = 8;",
        ("test_totality",),
    ),
    Mutant(
        "drop an RPC",
        "run_service.proto",
        "  // Stops a run.\n  rpc CancelRun(CancelRunRequest) returns (CancelRunResponse) {\n"
        "    option idempotency_level = IDEMPOTENT;\n  }\n",
        "",
        ("proto-breaking", "test_roster"),
    ),
    Mutant(
        "rename an RPC",
        "run_service.proto",
        "rpc GetRun(GetRunRequest)",
        "rpc ReadRun(GetRunRequest)",
        ("proto-breaking", "test_roster"),
    ),
    Mutant(
        "make an RPC a stream",
        "asset_service.proto",
        "rpc GetAsset(GetAssetRequest) returns (GetAssetResponse)",
        "rpc GetAsset(GetAssetRequest) returns (stream GetAssetResponse)",
        ("proto-breaking", "test_roster"),
    ),
    Mutant(
        "make a map repeated",
        "asset.proto",
        "map<string, string> tags = 5;",
        "repeated string tags = 5;",
        ("proto-breaking", "types", "test_golden"),
    ),
    Mutant(
        "add a field",
        "asset.proto",
        "IoConfig io = 50;",
        "IoConfig io = 50;\n  // Who is called at night.\n  string on_call = 51;",
        ("test_totality",),
    ),
    Mutant(
        "add an RPC",
        "asset_service.proto",
        "// Assets and what was produced of them.\nservice AssetService {\n",
        "// Asks to forget what was produced.\nmessage ForgetAssetRequest {}\n\n"
        "// What was forgotten.\nmessage ForgetAssetResponse {}\n\n"
        "// Assets and what was produced of them.\nservice AssetService {\n"
        "  // Forgets what was produced.\n"
        "  rpc ForgetAsset(ForgetAssetRequest) returns (ForgetAssetResponse);\n",
        ("test_totality", "test_roster"),
    ),
    Mutant(
        "make a field of the manifest double",
        "asset.proto",
        "optional int32 min_ratio_ppm = 2;",
        "optional double min_ratio_ppm = 2;",
        ("proto-breaking", "test_canonical_json"),
    ),
    Mutant(
        "add a double to the manifest",
        "manifest.proto",
        "map<string, string> metadata = 10;",
        "map<string, string> metadata = 10;\n  // How much of it is tested.\n  double share = 11;",
        ("test_totality", "test_canonical_json"),
    ),
)
"""Every break that has to be noticed."""

HARMLESS = Mutant(
    "reword a comment",
    "manifest.proto",
    "// What a project deploys.",
    "// What a project brings along.",
    (),
)
"""No break at all: what reads it as one would fail every build."""
