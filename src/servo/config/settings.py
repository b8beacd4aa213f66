"""The one list of settings: names, types, defaults and what they mean.

Command-line help, ``servo config show`` and the reference documentation are made from the fields
of `Settings`; there is no second list.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from servo import errors

MASK: Final = "********"
"""What is shown instead of a secret."""
ENVIRONMENT_PREFIX: Final = "SERVO_"
"""How the names of variables begin."""
_credentials: Final = re.compile(r"(//)[^/?#]*@")

TABLES: Final = ("log", "tls")
"""Tables in the files; ``tls.ca`` there is the field ``tls_ca`` and the variable SERVO_TLS_CA."""


def _setting(
    default: Any,
    doc: str,
    *,
    secret: bool = False,
    path: bool = False,
    minimum: int | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    facts = {"doc": doc, "secret": secret, "path": path, "minimum": minimum, "choices": choices}
    return field(default=default, metadata=facts, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One layer's word on a setting.

    Attributes:
        source: ``pyproject.toml``, ``servo.toml``, ``profile 'NAME'`` with its file, ``SERVO_X in
            .env``, the name of an environment variable, ``command line`` or ``argument``.
        value: What it says, as text; a secret is masked.
    """

    source: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One effective setting, as ``servo config show`` prints it.

    Attributes:
        name: Name of the field.
        key: Name in ``[tool.servo]`` and ``servo.toml``, such as ``tls.ca``.
        variable: Name in the environment.
        value: Text of the value; a secret is masked.
        source: Where the value comes from, as `Origin` says it, or ``default``.
        doc: One line for people.
        beaten: What the value won over, nearest first; the default comes last.
    """

    name: str
    key: str
    variable: str
    value: str
    source: str
    doc: str
    beaten: tuple[Origin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured; made by `servo.config.load`.

    Attributes:
        profile: The profile that was chosen; empty for none.
        origins: Field name to what the layers say, the one that won first; fields that no layer
            mentions are absent.
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
    api_url: str = _setting(
        "",
        "Address of the control plane: grpc://, grpcs://, http:// or https://; empty, or the word "
        "embedded: the project's own.",
    )
    api_key: str = _setting("", "Key for the control plane.", secret=True)
    api_key_file: str = _setting(
        "", "File with the key for the control plane, read again when it changes.", path=True
    )
    timeout: float | None = _setting(
        30.0, "Seconds that a call may take, all attempts together; none: no limit.", minimum=0
    )
    retries: int = _setting(
        2, "How often a failed call is tried again where that does no harm.", minimum=0
    )
    tls_ca: str = _setting(
        "", "Certificates of the authorities to trust, PEM; empty: the system's.", path=True
    )
    tls_cert: str = _setting("", "The client's own certificate with its chain, PEM.", path=True)
    tls_key: str = _setting("", "The private key of that certificate, PEM.", path=True)
    database_url: str = _setting(
        "",
        "Database of `python -m servo.controlplane`: a postgresql:// URL, or the path of a SQLite "
        "file. The embedded control plane has its own.",
        secret=True,
    )
    lease_seconds: int = _setting(
        30, "How long a worker's attempt stays its own without a heartbeat, seconds.", minimum=1
    )
    cancel_grace_seconds: int = _setting(
        10, "How long a cancelled attempt may clean up before it is killed, seconds.", minimum=0
    )
    data_root: str = _setting(
        "",
        "Directory of the tables; {tenant} and {workspace} in it are replaced. Empty: .servo/data "
        "for the workspace default, a directory below .servo/workspaces for any other.",
        path=True,
    )
    environment_ignore: tuple[str, ...] = _setting(
        (),
        "Variables that may differ between a command and the control plane that runs its tasks, "
        "such as MY_TOOL_*, besides those that never count.",
    )
    worker_slots: int = _setting(
        0, "Attempts that a worker executes at once; 0: one per core.", minimum=0
    )
    code_version_id: str = _setting(
        "",
        "The version of the code that deployments record and workers announce; empty: the commit "
        "of the project's git work tree.",
    )
    log_level: str = _setting(
        "",
        "Least level that is logged; empty: warning for commands, info for servers and workers.",
        choices=("debug", "info", "warning", "error"),
    )
    log_format: str = _setting(
        "text",
        "How log lines are written: for people, or a JSON object each.",
        choices=("text", "json"),
    )
    debug: bool = _setting(False, "Whether unexpected errors are shown with their traceback.")
    profile: str = field(default="", compare=False)
    origins: Mapping[str, tuple[Origin, ...]] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    @property
    def sources(self) -> Mapping[str, str]:
        """Field name to the source that won; fields with their default are absent."""
        return {name: found[0].source for name, found in self.origins.items()}

    def describe(self) -> Iterator[Setting]:
        """Yield every setting in declared order, secrets masked."""
        for one in setting_fields():
            found = self.origins.get(one.name, ())
            default = Origin(source="default", value=shown(one, one.default))
            beaten = (*found[1:], default) if found else ()
            yield Setting(
                name=one.name,
                key=".".join(key_path(one.name)),
                variable=variable(one.name),
                value=shown(one, getattr(self, one.name)),
                source=found[0].source if found else default.source,
                doc=one.metadata["doc"],
                beaten=beaten,
            )

    def read_api_key(self) -> str:
        """Return the key for the control plane, from ``api_key`` or from ``api_key_file``.

        Raises:
            ConfigurationError: The file cannot be read, or holds no key.
        """
        if self.api_key or not self.api_key_file:
            return self.api_key
        try:
            key = Path(self.api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise errors.ConfigurationError(
                f"the API key file {self.api_key_file!r} cannot be read: {reason}; check "
                f"{variable('api_key_file')}"
            ) from error
        if not key:
            raise errors.ConfigurationError(
                f"the API key file {self.api_key_file!r} is empty; write the key into it"
            )
        return key

    def for_children(self) -> dict[str, str]:
        """Return the variables that make a child process load the same settings."""
        environ = {variable("profile"): self.profile} if self.profile else {}
        if self.data_root:
            # A relative one refers to this process's directory, not to the child's.
            environ[variable("data_root")] = str(Path(self.data_root).absolute())
        return environ


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that open a control plane or a database.

    What user code does not need it does not inherit: any library may print its environment.
    """
    return {name: value for name, value in environ.items() if name not in _CREDENTIALS}


def setting_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of `Settings` that can be configured, in declared order."""
    return tuple(one for one in dataclasses.fields(Settings) if "doc" in one.metadata)


def key_path(name: str) -> tuple[str, ...]:
    """Return the path of a field in the files: ``tls_ca`` lies at ``tls``, ``ca``."""
    table, _, rest = name.partition("_")
    return (table, rest) if table in TABLES and rest else (name,)


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return ENVIRONMENT_PREFIX + name.upper()


_CREDENTIALS: Final = frozenset(
    variable(one.name)
    for one in setting_fields()
    if one.metadata["secret"] or one.name in ("api_key_file", "tls_key")
) | {"SERVO_TLS__KEY"}


def shown(one: dataclasses.Field[Any], value: object) -> str:
    """Return the text of a field's value; a secret is masked."""
    if one.metadata["secret"]:
        return MASK if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else _credentials.sub(rf"\g<1>{MASK}@", str(value))
