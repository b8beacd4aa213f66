"""Prints digests of canonical bytes as JSON: run in many environments, it must always say the same.

Everything that an environment could leak into is in here: sets and dictionaries (the hash seed),
naive and aware times (the time zone), letters whose case depends on the language (the locale).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import locale
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from servo._wire import (
    decode,
    encode,
    from_json,
    manifest_canonical_json,
    manifest_fingerprint,
    to_canonical_json,
)
from servo._wire.table import TYPES
from servo.errors import InvalidArgumentError
from servo.types import AssetDefinition, AssetKey, CodeLocation, PartitionKey
from servo.types.manifests import ManifestContents

CORPUS = Path(__file__).parent / "corpus"
WORDS = frozenset(f"istanbul_{number}" for number in range(40)) | {
    "i",
    "I",
    "\u0131",
    "\u0130",
    "ß",
    "z",
    "é",
}
WHEN = datetime(2025, 3, 30, 1, 30)


def values() -> dict[str, Any]:
    """Values that are built here, out of unordered parts."""
    unordered = {word: word.upper() for word in WORDS}
    key = PartitionKey(
        {
            "naive": WHEN,
            "aware": WHEN.replace(tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "day": date(2025, 3, 30),
            **{f"d{index}": word for index, word in enumerate(sorted(WORDS))},
        }
    )
    asset = AssetDefinition(
        AssetKey("raw", "events"),
        code=CodeLocation("assets", "events", file_path="assets.py", line_number=1),
        tags=unordered,
        metadata=dict(reversed(unordered.items())),
    )
    manifest = ManifestContents(assets=(asset,), deployed_at=WHEN, metadata=unordered)
    aware = ManifestContents(deployed_at=WHEN.replace(tzinfo=UTC))
    return {"key": key, "asset": asset, "manifest": manifest, "aware manifest": aware}


def digests() -> dict[str, str]:
    """Bytes and texts of the values above and of the corpus."""
    texts: dict[str, bytes] = {}
    for name, value in values().items():
        texts[name] = encode(value) + to_canonical_json(value).encode()
    key, manifest = values()["key"], values()["manifest"]
    texts["key fingerprint"] = key.fingerprint().encode()
    texts["manifest fingerprint"] = manifest_fingerprint(manifest).encode()
    texts["manifest content"] = manifest_canonical_json(manifest, provenance=False).encode()
    kinds = {row.message.DESCRIPTOR.full_name: kind for kind, row in TYPES.items()}
    for row in json.loads((CORPUS / "index.json").read_text(encoding="utf-8")):
        kind = kinds.get(row["type"])
        # Some of the corpus is no value of the façade: what a reader must stand, not Servo.
        with contextlib.suppress(InvalidArgumentError, TypeError):
            value = decode(kind, (CORPUS / f"{row['case']}.binpb").read_bytes())
            again = from_json(kind, to_canonical_json(value))
            texts[f"corpus {row['case']}"] = encode(again) + to_canonical_json(again).encode()
    return {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}


if __name__ == "__main__":
    # A locale that the machine does not have stays C.
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    sys.stdout.write(json.dumps(digests(), sort_keys=True))
