"""What using the client loads, and what it does without."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# Everything of these is an extra, and must not be missed where it is not used.
HIDE = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"httpx", "httpcore", "opentelemetry", "sniffio"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_neither_transport() -> None:
    loaded = run("import sys, servo.client; print(*sys.modules)").split()
    assert not {"grpc", "httpx", "opentelemetry", "ssl"} & set(loaded)


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_a_call_over_grpc_needs_no_extra(name: str) -> None:
    output = run(
        textwrap.dedent(HIDE)
        + textwrap.dedent(f"""
        import asyncio, inspect
        from servo import errors
        from servo.client import {name}

        async def main():
            client = {name}("grpc://127.0.0.1:1", retries=0)
            try:
                found = client.server.info()
                if inspect.isawaitable(found):
                    await found
            except errors.UnavailableError as exc:
                print("unavailable", exc.attempts, bool(exc.request_id))

        asyncio.run(main())
        print(sorted({{"httpx", "opentelemetry"}} & set(sys.modules)))
        """)
    )
    assert output.splitlines() == ["unavailable 1 True", "[]"]


def test_http_without_its_extra_says_what_to_install() -> None:
    output = run(
        textwrap.dedent(HIDE)
        + textwrap.dedent("""
        from servo import errors
        from servo.client import Client

        try:
            Client("http://127.0.0.1:1")
        except errors.ConfigurationError as exc:
            print(exc.code, exc)
        """)
    )
    assert output.startswith("MISSING_EXTRA ")
    assert "pip install 'arco-servo[http]'" in output


def test_a_call_over_http_loads_no_authorities_and_no_tracing() -> None:
    loaded = run("""
        import sys
        from servo import errors
        from servo.client import Client

        try:
            Client("http://127.0.0.1:1", retries=0).server.info()
        except errors.UnavailableError:
            print(*sys.modules)
    """).split()
    assert "httpx" in loaded
    assert "opentelemetry" not in loaded
