"""The worker calls by the rules of the client: encrypted, or on its own machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client_kit import KEY, Script, scripted_plane
from servo import errors
from servo.client import Tls
from servo.worker.worker import Worker, WorkerConfig
from tls_kit import Authority


async def connect(config: WorkerConfig, script: Script) -> None:
    """Run a worker until it has opened its session."""
    worker = Worker(config)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        while not script.headers:
            await asyncio.sleep(0.02)
    worker.kill()
    await running


def test_a_workers_key_is_never_sent_in_plain_text_to_another_machine(tmp_path: Path) -> None:
    config = WorkerConfig(url="grpc://192.0.2.1:7433", api_key="s3cret", project=tmp_path)
    with pytest.raises(errors.ConfigurationError, match="in plain text"):
        Worker(config)


def test_a_worker_shows_its_certificate_and_trusts_the_authority_it_is_given(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "tls")
    with scripted_plane(tmp_path, tls=authority.server(mutual=True)) as script:
        config = WorkerConfig(
            url=script.grpc_url,
            api_key=KEY,
            tls=Tls(ca=authority.ca, cert=authority.client_cert, key=authority.client_key),
            project=tmp_path,
            slots=1,
        )
        asyncio.run(connect(config, script))
    assert script.headers[0]["x-servo-source"] == "worker"


def test_a_worker_does_not_go_on_with_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    with scripted_plane(tmp_path, tls=Authority(tmp_path / "tls").server()) as script:
        config = WorkerConfig(
            url=script.grpc_url,
            api_key=KEY,
            tls=Tls(ca=Authority(tmp_path / "other").ca),
            project=tmp_path,
            slots=1,
        )
        with pytest.raises(errors.ConfigurationError, match="is not trusted"):
            asyncio.run(Worker(config).run())
    assert script.headers == []
