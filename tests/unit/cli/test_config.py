"""``servo config``: what is configured, where it comes from, and whether it works."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from servo.cli import main
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.controlplane.tls import TlsConfig
from tls_kit import Authority

SECRET = "hunter2-hunter2-hunter2-hunter2-x"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SERVO_API_URL", "SERVO_API_KEY", "SERVO_PROFILE", "SERVO_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "assets").mkdir()
    (tmp_path / "servo.toml").write_text(
        'timeout = 5\n[profiles.prod]\ntimeout = 9\nworkspace_id = "prod"\n'
    )
    (tmp_path / ".env").write_text(f"SERVO_API_KEY={SECRET}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str]:
        code = main.invoke(list(arguments))
        printed = capsys.readouterr()
        assert SECRET not in printed.out + printed.err
        return code, printed.out + printed.err

    return run


def test_every_setting_is_shown_with_its_source(run: Run, project: Path) -> None:
    code, shown = run("config", "show")
    assert code == 0
    assert str(project) in shown
    row = next(line for line in shown.splitlines() if line.startswith("timeout"))
    assert row.split()[:3] == ["timeout", "5", "servo.toml"]
    key = next(line for line in shown.splitlines() if line.startswith("api_key "))
    assert key.split()[1] == "********"


def test_an_explanation_says_what_a_value_beat(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVO_TIMEOUT", "7")
    code, shown = run("--profile", "prod", "config", "show", "--explain")
    assert code == 0
    assert "profile prod" in shown.splitlines()[0]
    lines = shown.splitlines()
    at = lines.index("timeout = 7  [SERVO_TIMEOUT]")
    assert lines[at + 1 : at + 4] == [
        "    beat 9  [profile 'prod' of servo.toml]",
        "    beat 5  [servo.toml]",
        "    beat 30  [default]",
    ]
    assert lines[at + 4].startswith("retries = ")


def test_the_document_says_the_same(run: Run) -> None:
    _, shown = run("--profile", "prod", "config", "show", "--json")
    timeout = json.loads(shown)["timeout"]
    assert timeout.pop("description")
    assert timeout == {
        "beat": [{"source": "servo.toml", "value": "5"}, {"source": "default", "value": "30"}],
        "key": "timeout",
        "source": "profile 'prod' of servo.toml",
        "value": "9",
        "variable": "SERVO_TIMEOUT",
    }


def test_settings_are_shown_where_there_is_no_project(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("nowhere"))
    code, shown = run("config", "show")
    assert code == 0
    assert "default" in shown


def test_a_directory_that_does_not_exist_is_refused(run: Run) -> None:
    code, shown = run("--project", "nowhere", "config", "show")
    assert code == 78
    assert "'nowhere' is no directory" in shown


def test_an_unknown_profile_is_a_wrong_configuration(run: Run) -> None:
    code, shown = run("--profile", "prdo", "config", "show")
    assert code == 78
    assert "did you mean 'prod'" in shown


def test_a_key_that_is_part_of_an_error_is_masked(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVO_API_URL", f"grpc://127.0.0.1:1/{SECRET}")
    for more in ((), ("--json",)):
        code, shown = run("runs-of", "x", *more)
        assert code == 2
        code, shown = run("status", *more)
        assert code != 0
        assert "********" in shown


def test_debug_in_a_file_shows_tracebacks(run: Run, project: Path) -> None:
    (project / "servo.toml").write_text("debug = true\napi_url = 'ftp://x'\n")
    _, shown = run("status")
    assert "Traceback" in shown
    (project / "servo.toml").write_text("api_url = 'ftp://x'\n")
    _, shown = run("status")
    assert "Traceback" not in shown


@dataclass
class Served:
    """A control plane in a thread of its own."""

    grpc_url: str
    http_url: str


@contextmanager
def served(database: Path, tls: TlsConfig | None = None) -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=60)

    plane = ControlPlane(ControlPlaneConfig(database=database, api_key=SECRET, tls=tls))
    try:
        url = wait(plane.start())
        yield Served(url, plane.http_url)
        wait(plane.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=60)
        loop.close()


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("plane") / "servo.db") as found:
        yield found


def document(shown: str) -> Any:
    """Return what is on standard output; what follows it was logged."""
    return json.loads(shown.splitlines()[0])


def results(shown: str) -> dict[str, str]:
    return {one["name"]: one["status"] for one in document(shown)["checks"]}


@pytest.mark.parametrize("transport", ["grpc_url", "http_url"])
def test_a_control_plane_that_works_passes_every_check(
    run: Run, plane: Served, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv("SERVO_API_URL", getattr(plane, transport))
    code, shown = run("config", "check", "--json")
    assert (code, document(shown)["ok"]) == (0, True)
    assert results(shown) == {
        "address": "ok",
        "connection": "ok",
        "tls": "skipped",
        "key": "ok",
        "workspace": "ok",
        "versions": "ok",
        "latency": "ok",
    }
    code, shown = run("config", "check")
    assert code == 0
    assert "workspace 'default'" in shown
    assert " ms, the median of " in shown


def test_a_key_that_is_refused_is_named(
    run: Run, plane: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVO_API_URL", plane.grpc_url)
    monkeypatch.setenv("SERVO_API_KEY", "wrong")
    code, shown = run("config", "check", "--json")
    assert code == document(shown)["exit_code"] == 77
    assert results(shown) | {"connection": "ok", "key": "failed", "latency": "skipped"} == results(
        shown
    )


def test_a_key_file_is_used(
    run: Run, plane: Served, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "key").write_text(f"{SECRET}\n")
    (project / ".env").unlink()
    (project / "servo.toml").write_text(f"api_key_file = 'key'\napi_url = '{plane.grpc_url}'\n")
    code, _ = run("config", "check")
    assert code == 0


def test_a_port_where_nothing_listens_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("SERVO_API_URL", f"grpc://127.0.0.1:{port}")
    code, shown = run("config", "check", "--json")
    assert code == 69
    assert results(shown)["connection"] == "failed"
    assert f"127.0.0.1:{port}" in shown


def test_a_name_without_an_address_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVO_API_URL", "grpcs://plane.invalid:443")
    code, shown = run("config", "check", "--json")
    assert code == 69
    assert "'plane.invalid' has no address" in shown


@pytest.mark.parametrize("url", ["ftp://plane:1", "grpc://plane", "plane"])
def test_an_address_that_is_none_is_a_wrong_configuration(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SERVO_API_URL", url)
    code, shown = run("config", "check", "--json")
    assert code == 78
    assert results(shown)["address"] == "failed"
    assert results(shown)["connection"] == "skipped"


def test_a_server_that_speaks_no_tls_is_named(
    run: Run, plane: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVO_API_URL", plane.grpc_url.replace("grpc://", "grpcs://"))
    monkeypatch.setenv("SERVO_TIMEOUT", "5")
    code, shown = run("config", "check", "--json")
    assert code != 0
    assert results(shown)["connection"] == "ok"
    assert results(shown)["tls"] == "failed"
    assert "handshake failed" in shown


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
@pytest.mark.parametrize(
    ("trusted", "age", "code", "said"),
    [
        (True, timedelta(days=1), 0, "the certificate is trusted"),
        (False, timedelta(days=1), 78, "not trusted"),
        (True, -timedelta(days=1), 78, "certificate has expired"),
    ],
)
def test_tls_is_looked_at(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    scheme: str,
    trusted: bool,
    age: timedelta,
    code: int,
    said: str,
) -> None:
    authority = Authority(tmp_path / "tls", expires_at=datetime.now(UTC) + age)
    monkeypatch.setenv("SERVO_TIMEOUT", "10")
    if trusted:
        monkeypatch.setenv("SERVO_TLS_CA", str(authority.ca))
    with served(tmp_path / "servo.db", authority.server()) as plane:
        url = plane.grpc_url if scheme == "grpcs" else plane.http_url
        monkeypatch.setenv("SERVO_API_URL", f"{scheme}://{url.partition('://')[2]}")
        found, shown = run("config", "check", "--json")
    assert found == code
    assert results(shown)["tls"] == ("failed" if code else "ok")
    assert said in shown


def test_an_embedded_control_plane_is_not_started_to_look_at_it(run: Run, project: Path) -> None:
    code, shown = run("config", "check", "--json")
    assert code == 0
    assert results(shown) == {"address": "skipped"}
    assert not (project / ".servo" / "host.lock").exists()
