"""What must hold between the assets of a manifest, whoever wrote it.

`validate` runs at ``servo validate``, at ``deploy`` and again in the control plane. It returns all
problems, not the first, and passes over the assets a fixed number of times without recursion: a
chain of any length is fine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from servo import errors
from servo.manifest._cycles import find_cycles
from servo.manifest._mappings import mapping_problem
from servo.types import AssetDefinition, AssetKey, CheckPhase

__all__ = ["Problem", "ProblemKind", "check", "validate"]

_MOST_SUGGESTIONS: Final = 20
_MOST_LISTED: Final = 50
_LONGEST_PATH: Final = 12


class ProblemKind(StrEnum):
    """What is wrong; stable names for programs."""

    DUPLICATE_KEY = "duplicate_key"
    DUPLICATE_ID = "duplicate_id"
    RENAMED_FROM_EXISTS = "renamed_from_exists"
    SELF_DEPENDENCY = "self_dependency"
    UNKNOWN_UPSTREAM = "unknown_upstream"
    CYCLE = "cycle"
    IMPOSSIBLE_MAPPING = "impossible_mapping"
    CHECK_WITHOUT_INPUT = "check_without_input"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What it is.
        key: The asset that has to change.
        message: What is wrong and what to do, for people.
        location: ``file:line`` of the asset, or empty when unknown.
    """

    kind: ProblemKind
    key: AssetKey
    message: str
    location: str = ""

    def __str__(self) -> str:
        return f"{self.location}: {self.message}" if self.location else self.message


class _HasAssets(Protocol):
    @property
    def assets(self) -> tuple[AssetDefinition, ...]: ...


def validate(manifest: _HasAssets | Iterable[AssetDefinition]) -> tuple[Problem, ...]:
    """Return everything that is wrong between the assets, sorted by key.

    Args:
        manifest: A manifest, or its assets in any order.
    """
    given = manifest if isinstance(manifest, Iterable) else manifest.assets
    assets = tuple(given)
    by_key = {asset.key: asset for asset in assets}
    problems = [
        *_duplicates(assets),
        *_renames(assets, by_key),
        *_edges(assets, by_key),
        *_cycles(by_key),
        *_checks(assets),
    ]
    return tuple(sorted(problems, key=lambda one: (one.key, one.kind, one.message)))


def check(manifest: _HasAssets | Iterable[AssetDefinition]) -> None:
    """Raise if anything is wrong.

    Raises:
        DefinitionError: Lists the problems; their number and kinds are in its context.
    """
    problems = validate(manifest)
    if not problems:
        return
    lines = [f"  {problem}" for problem in problems[:_MOST_LISTED]]
    if len(problems) > _MOST_LISTED:
        lines.append(f"  … and {len(problems) - _MOST_LISTED} more")
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    raise errors.DefinitionError(
        "\n".join([f"The assets do not fit together ({count}):", *lines]),
        code="INVALID_MANIFEST",
        context={
            "problems": len(problems),
            "kinds": ",".join(sorted({str(problem.kind) for problem in problems})),
        },
    )


def _problem(kind: ProblemKind, asset: AssetDefinition, message: str) -> Problem:
    code = asset.code
    location = f"{code.file_path}:{code.line_number}" if code.file_path else ""
    return Problem(kind, asset.key, message, location)


def _duplicates(assets: Sequence[AssetDefinition]) -> Iterator[Problem]:
    first: dict[AssetKey, AssetDefinition] = {}
    owner: dict[str, AssetDefinition] = {}
    for asset in assets:
        other = first.setdefault(asset.key, asset)
        if other is not asset:
            yield _problem(
                ProblemKind.DUPLICATE_KEY,
                asset,
                f"Duplicate asset key '{asset.key}': also defined at "
                f"{other.code.file_path}:{other.code.line_number}; rename one of them",
            )
        elif asset.id is not None:
            holder = owner.setdefault(asset.id, asset)
            if holder is not asset:
                yield _problem(
                    ProblemKind.DUPLICATE_ID,
                    asset,
                    f"'{asset.key}' has the id {asset.id!s} of '{holder.key}'; an id belongs to "
                    f"one asset: remove one of the two entries from the lockfile",
                )


def _renames(
    assets: Sequence[AssetDefinition], by_key: Mapping[AssetKey, AssetDefinition]
) -> Iterator[Problem]:
    renamed = [asset for asset in assets if asset.renamed_from is not None]
    claims = Counter(asset.renamed_from for asset in renamed)
    for asset in renamed:
        old = asset.renamed_from
        if old in by_key:
            yield _problem(
                ProblemKind.RENAMED_FROM_EXISTS,
                asset,
                f"'{asset.key}' has renamed_from='{old}', but '{old}' still exists; "
                f"remove that asset or the argument",
            )
        elif claims[old] > 1:
            yield _problem(
                ProblemKind.RENAMED_FROM_EXISTS,
                asset,
                f"'{asset.key}' has renamed_from='{old}', and so has another asset; "
                f"only one of them can keep its id",
            )


def _edges(
    assets: Sequence[AssetDefinition], by_key: Mapping[AssetKey, AssetDefinition]
) -> Iterator[Problem]:
    suggest = _Suggestions(by_key)
    for asset in assets:
        for dependency in asset.dependencies:
            key = dependency.upstream_key
            if key == asset.key:
                yield _problem(
                    ProblemKind.SELF_DEPENDENCY,
                    asset,
                    f"'{asset.key}' depends on itself (parameter "
                    f"{dependency.parameter_name!r}); read its earlier data from another asset",
                )
            elif (upstream := by_key.get(key)) is None:
                yield _problem(
                    ProblemKind.UNKNOWN_UPSTREAM,
                    asset,
                    f"'{asset.key}' depends on '{key}' (parameter "
                    f"{dependency.parameter_name!r}), which does not exist{suggest(key)}",
                )
            elif (
                wrong := mapping_problem(dependency, asset.partitioning, upstream.partitioning)
            ) is not None:
                yield _problem(
                    ProblemKind.IMPOSSIBLE_MAPPING,
                    asset,
                    f"'{asset.key}' cannot read '{key}' (parameter "
                    f"{dependency.parameter_name!r}): {wrong}",
                )


def _checks(assets: Sequence[AssetDefinition]) -> Iterator[Problem]:
    for asset in assets:
        if asset.dependencies:
            continue
        for one in asset.checks:
            if one.phase is CheckPhase.PRE:
                yield _problem(
                    ProblemKind.CHECK_WITHOUT_INPUT,
                    asset,
                    f"'{asset.key}' has the check {one.name!r} of phase 'pre', which looks at "
                    f"what the asset reads, but it reads nothing; leave out phase='pre' to check "
                    f"what it returns",
                )


class _Suggestions:
    """Finds the key that was probably meant; only for the first few, since looking is slow."""

    def __init__(self, by_key: Mapping[AssetKey, AssetDefinition]) -> None:
        self._by_key = by_key
        self._names: list[str] | None = None
        self._left = _MOST_SUGGESTIONS

    def __call__(self, key: AssetKey) -> str:
        if self._left == 0:
            return ""
        self._left -= 1
        import difflib

        if self._names is None:
            self._names = [str(one) for one in self._by_key]
        close = difflib.get_close_matches(str(key), self._names, n=1, cutoff=0.7)
        if not close:
            close = [name for name in self._names if name.endswith(f".{key.name}")][:1]
        return f"; did you mean '{close[0]}'?" if close else "; define it or correct the key"


def _cycles(by_key: Mapping[AssetKey, AssetDefinition]) -> Iterator[Problem]:
    """Report one cycle for each knot of assets that depend on each other."""
    upstreams = {
        key: [
            one.upstream_key
            for one in asset.dependencies
            if one.upstream_key in by_key and one.upstream_key != key
        ]
        for key, asset in by_key.items()
    }
    for cycle in find_cycles(upstreams):
        yield _cycle_problem(by_key, cycle)


def _cycle_problem(by_key: Mapping[AssetKey, AssetDefinition], cycle: list[AssetKey]) -> Problem:
    names = [str(key) for key in (*cycle, cycle[0])]
    if len(names) > _LONGEST_PATH:
        half = _LONGEST_PATH // 2
        names = [*names[:half], f"… {len(names) - 2 * half} more …", *names[-half:]]
    return _problem(
        ProblemKind.CYCLE,
        by_key[cycle[0]],
        f"the assets depend on each other in a cycle: {' → '.join(names)} "
        f"(each reads the next); remove one of these dependencies",
    )
