"""The one list of settings: names, types, defaults and what they mean.

Command-line help, ``servo config show`` and the reference documentation are made from the fields
of `Settings`; there is no second list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

MASK: Final = "********"
"""What is shown instead of a secret."""


def _setting(default: Any, doc: str, *, secret: bool = False, minimum: int | None = None) -> Any:
    facts = {"doc": doc, "secret": secret, "minimum": minimum}
    return field(default=default, metadata=facts, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One effective setting, as ``servo config show`` prints it.

    Attributes:
        name: Name in ``[tool.servo]``; in upper case after ``SERVO_`` also in the environment.
        value: Text of the value; a secret is masked.
        source: Where the value comes from: ``default``, ``pyproject.toml``, the name of an
            environment variable, or ``argument``.
        doc: One line for people.
    """

    name: str
    value: str
    source: str
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured; made by `servo.config.load`.

    Attributes:
        sources: Field name to where its value comes from; fields with their default are absent.
    """

    paths: tuple[str, ...] = _setting(
        (),
        "Directories or files with assets, relative to the project; default: what exists of "
        "assets and src/assets.",
    )
    import_roots: tuple[str, ...] = _setting(
        (),
        "Directories put on the import path, relative to the project; default: src, if it "
        "exists, and the project itself.",
    )
    tenant_id: str = _setting("default", "The tenant that the project belongs to.")
    workspace_id: str = _setting("default", "The workspace that is deployed to and run in.")
    api_url: str = _setting("", "Address of the control plane; empty: the embedded one.")
    api_key: str = _setting("", "Key for the control plane.", secret=True)
    lease_seconds: int = _setting(
        30, "How long a worker's attempt stays its own without a heartbeat, seconds.", minimum=1
    )
    cancel_grace_seconds: int = _setting(
        10, "How long a cancelled attempt may clean up before it is killed, seconds.", minimum=0
    )
    worker_slots: int = _setting(
        0, "Attempts that a worker executes at once; 0: one per core.", minimum=0
    )
    debug: bool = _setting(False, "Whether unexpected errors are shown with their traceback.")
    sources: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    def describe(self) -> Iterator[Setting]:
        """Yield every setting in declared order, secrets masked."""
        for one in setting_fields():
            value = getattr(self, one.name)
            text = _text(value)
            yield Setting(
                name=one.name,
                value=MASK if one.metadata["secret"] and value else text,
                source=self.sources.get(one.name, "default"),
                doc=one.metadata["doc"],
            )


def setting_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of `Settings` that can be configured, in declared order."""
    return tuple(one for one in dataclasses.fields(Settings) if "doc" in one.metadata)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)
