"""Nothing but the code that was deployed is executed.

A dispatch carries the asset as it was deployed, fingerprints included. Before the function is
called, they are compared with those of the code in this process, which stays what it was when the
process looked at it first: modules that are imported later come from the source that was compared.
Where they differ, and another process may have the right code, the attempt is refused instead of
failed; see ``docs/adr/0018-code-identity.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from servo import errors
from servo._fingerprint import fingerprint_all
from servo.asset import Asset
from servo.manifest.project_code import ProjectCode
from servo.manifest.project_imports import ProjectFinder
from servo.types.assets import AssetDefinition
from servo.worker.resolve import find_asset

__all__ = ["CodeGuard", "CodeRefusedError"]

_MOST_NAMED: Final = 5


class CodeRefusedError(errors.ConfigurationError):
    """This process has other code than an attempt was deployed with.

    Attributes:
        fresh_helps: Whether a process that is started now would have the right code.
    """

    default_code = "CODE_MISMATCH"

    def __init__(self, message: str, *, code: str, hint: str, fresh_helps: bool) -> None:
        super().__init__(message, code=code, hint=hint)
        self.fresh_helps = fresh_helps


class CodeGuard:
    """Finds assets in this process, if they are those that were deployed.

    Args:
        roots: Directories from which the project's modules are imported.

    Attributes:
        refused: Why the last asset was refused; ``None`` when it was found.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.refused: CodeRefusedError | None = None
        self._code = ProjectCode(roots)
        self._known: dict[tuple[str, ...], Asset[..., Any]] = {}
        ProjectFinder(self._code, keep_lines=True).install()

    def find(self, definition: AssetDefinition) -> Asset[..., Any]:
        """Return the asset of a definition; its module is imported once per process.

        Raises:
            CodeRefusedError: The code differs, or cannot be imported and a process that is started
                now would find other code.
            ConfigurationError: The module cannot be imported, or lacks the asset.
        """
        self.refused = None
        code = definition.code
        key = (
            str(definition.key), code.module, code.function,
            code.fingerprint, definition.transform_fingerprint,
        )  # fmt: skip
        found = self._known.get(key)
        if found is None:
            self._code.look_again()
            found = self._known[key] = self._found(definition)
        return found

    def _found(self, definition: AssetDefinition) -> Asset[..., Any]:
        code = definition.code
        here = self._code.fingerprint(code.module, code.function)
        if code.fingerprint and code.fingerprint != here:
            raise self._refusal(definition, here, self._difference(definition, here))
        try:
            found = find_asset(definition)
        except errors.ConfigurationError as exc:
            if not self._fresh_helps(definition, here):
                raise
            raise self._refused_with(exc.message, exc.code, exc.hint, fresh_helps=True) from exc
        if not code.fingerprint:
            self._compare_function(definition, found, here)
        return found

    def _compare_function(
        self, definition: AssetDefinition, found: Asset[..., Any], here: str
    ) -> None:
        """Compare the function alone: all that an older manifest says."""
        deployed = definition.transform_fingerprint
        if not deployed or hasattr(found.function, "__wrapped__"):
            return  # what libraries put around it may differ from machine to machine
        (function,) = fingerprint_all([found.function], known_files=self._code)
        # Without source the digits depend on the version of Python.
        if function.line_number and function.digest != deployed:
            raise self._refusal(
                definition,
                here,
                f"its function was deployed with the fingerprint {deployed}, and is "
                f"{function.digest} here",
            )

    def _refusal(self, definition: AssetDefinition, here: str, why: str) -> CodeRefusedError:
        return self._refused_with(
            f"the code is not what was deployed: {definition.key}: {why}",
            "CODE_MISMATCH",
            _HINT,
            fresh_helps=self._fresh_helps(definition, here),
        )

    def _refused_with(
        self, message: str, code: str, hint: str, *, fresh_helps: bool
    ) -> CodeRefusedError:
        self.refused = CodeRefusedError(message, code=code, hint=hint, fresh_helps=fresh_helps)
        return self.refused

    def _fresh_helps(self, definition: AssetDefinition, here: str) -> bool:
        """Tell whether a process that is started now would have the code that was deployed."""
        code = definition.code
        now = ProjectCode(self._code.roots, known_facts=self._code.known_facts)
        there = now.fingerprint(code.module, code.function)
        if not here and not there:
            # Not the project's own; an installed package may have been replaced.
            return bool(self._known)
        return there != here and there == (code.fingerprint or there)

    def _difference(self, definition: AssetDefinition, here: str) -> str:
        code = definition.code
        module = self._code.find(code.module)
        if module is None or not here:
            return f"it was deployed from the module {code.module!r}, which the project lacks here"
        facts = self._code.facts(module)
        names = list(self._code.modules_of(code.module))
        where = f"{code.module!r} and what it imports" if len(names) > 1 else repr(code.module)
        listed = ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
        if facts.assets and "." not in code.function and code.function not in facts.assets:
            where = f"{code.module!r}, which has no asset function {code.function!r} here"
        return (
            f"it was deployed with the code fingerprint {code.fingerprint}, and is {here} here; "
            f"what counts is {where} ({listed})"
        )


_HINT: Final = (
    "Deploy what is there and repeat the run with 'servo rerun', or give the worker the code that "
    "was deployed."
)
