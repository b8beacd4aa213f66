"""Proof that a manifest is a function of the source tree: build it twice and compare.

This process builds it once, and meanwhile a second process builds it with another hash seed and
another time zone. Whatever depends on either (the order of a set, the hour of the day, a random
number in a default) shows as a difference, which names the asset and the field.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from servo import errors
from servo.manifest.manifest import AssetManifest
from servo.manifest.project import Project

__all__ = ["Difference", "Verification", "differences", "verify"]

_TIMEOUT_SECONDS: Final = 600.0
_ZONES: Final = ("Pacific/Chatham", "America/St_Johns")
_SEEDS: Final = ("1", "2")
_MOST_LISTED: Final = 10
_LONGEST_VALUE: Final = 120


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two builds differ.

    Attributes:
        asset: Dotted key of the asset; empty for a field of the manifest itself.
        field: Path of the field, such as ``tags.built`` or ``checks[0].name``.
        first: What the one build has, as JSON.
        second: What the other one has.
    """

    asset: str
    field: str
    first: str
    second: str

    def __str__(self) -> str:
        where = f"'{self.asset}', field {self.field}" if self.asset else f"field {self.field}"
        return f"{where}: {_short(self.first)} and {_short(self.second)}"


class Verification:
    """The second build, under way in a process of its own; a context manager.

    Enter it before the first build, so that both run at once, and call `compare` after.

    Args:
        project: The project that is built.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "servo.manifest.build_worker", str(self._project.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=_other_environment(),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None and not stream.closed:
                    # What was buffered for a process that is gone cannot be written any more.
                    with contextlib.suppress(OSError):
                        stream.close()
            process.wait()
        self._said.close()

    def compare(self, manifest: AssetManifest) -> None:
        """Wait for the second build and compare it with the first.

        Args:
            manifest: The first build, without provenance; its ids are given to the second.

        Raises:
            DefinitionError: The builds differ; the message names assets and fields.
            DeadlineError: The second build takes longer than ten minutes.
        """
        process = self._process
        assert process is not None, "enter the verification first"
        request = {
            "tenantId": manifest.tenant_id,
            "workspaceId": manifest.workspace_id,
            "assetIds": {str(one.key): one.id for one in manifest.assets if one.id is not None},
        }
        try:
            other, _ = process.communicate(json.dumps(request).encode(), timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise errors.DeadlineError(
                f"the second build of {str(self._project.root)!r} did not end within "
                f"{_TIMEOUT_SECONDS:g} s; skip it with --no-verify, or find the module that waits"
            ) from error
        if process.returncode != 0:
            raise errors.DefinitionError(
                f"the manifest cannot be built a second time, in another process with another "
                f"hash seed and time zone; it said:\n{self._tail()}",
                code="MANIFEST_NOT_REPRODUCIBLE",
            )
        mine = manifest.to_canonical_json().encode()
        if mine != other:
            raise _not_reproducible(differences(json.loads(mine), json.loads(other)))

    def _tail(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_MOST_LISTED * 2 :])


def verify(project: Project) -> None:
    """Build the manifest of a project twice and compare; writes nothing.

    Where the manifest is needed as well, `servo.manifest.build_project` does both at once.

    Raises:
        DefinitionError: The builds differ, or one fails; the message names assets and fields.
        DiscoveryError: Some modules cannot be imported.
    """
    from servo.manifest.pipeline import build_project

    build_project(project, frozen=False, write_lockfile=False, verify=True)


def _other_environment() -> dict[str, str]:
    environ = dict(os.environ)
    environ["PYTHONHASHSEED"] = next(
        seed for seed in _SEEDS if seed != os.environ.get("PYTHONHASHSEED")
    )
    environ["TZ"] = next(zone for zone in _ZONES if zone != os.environ.get("TZ"))
    # The second process finds what this one finds, however this one was told where to look.
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environ


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[Difference]:
    """Compare two manifests' JSON documents, asset by asset, field by field."""
    before, after = _by_key(first), _by_key(second)
    found: list[Difference] = []
    for key in sorted(before.keys() | after.keys()):
        if key not in before or key not in after:
            found.append(
                Difference(
                    key,
                    "key",
                    "present" if key in before else "absent",
                    "present" if key in after else "absent",
                )
            )
        elif before[key] != after[key]:
            found.extend(
                Difference(key, path, one, other)
                for path, one, other in _walk(before[key], after[key])
            )
    rest = [{**document, "assets": []} for document in (first, second)]
    found.extend(Difference("", path, one, other) for path, one, other in _walk(*rest))
    return found


def _by_key(document: dict[str, Any]) -> dict[str, Any]:
    return {f"{one['key']['namespace']}.{one['key']['name']}": one for one in document["assets"]}


def _walk(first: Any, second: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the paths of the innermost values that differ, depth first, with both values."""
    stack: list[tuple[str, Any, Any]] = [("", first, second)]
    while stack:
        path, one, other = stack.pop()
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            stack.extend(
                (f"{path}.{name}" if path else name, one.get(name), other.get(name))
                for name in sorted(one.keys() | other.keys(), reverse=True)
            )
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            places = reversed(list(enumerate(zip(one, other, strict=True))))
            stack.extend((f"{path}[{place}]", *pair) for place, pair in places)
        else:
            yield path, json.dumps(one, ensure_ascii=False), json.dumps(other, ensure_ascii=False)


def _not_reproducible(found: list[Difference]) -> errors.DefinitionError:
    lines = [f"  {one}" for one in found[:_MOST_LISTED]]
    if len(found) > _MOST_LISTED:
        lines.append(f"  … and {len(found) - _MOST_LISTED} more")
    return errors.DefinitionError(
        "\n".join(
            [
                "two builds of the manifest differ, so every deploy would look like a change. "
                "Give these fields values that do not depend on the order of a set, the time, "
                "chance or the environment (sorted(...) helps with sets):",
                *lines,
            ]
        ),
        code="MANIFEST_NOT_REPRODUCIBLE",
        context={
            "assets": ",".join(sorted({one.asset for one in found if one.asset})[:_MOST_LISTED]),
            "fields": ",".join(sorted({one.field for one in found})[:_MOST_LISTED]),
        },
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
