"""A control plane of one's own for a test."""

from __future__ import annotations

import asyncio
import threading

import pytest

from servo import __version__, errors
from servo.testing import local_plane


def test_a_local_plane_answers_over_both_transports_and_to_both_clients() -> None:
    async def ask_async() -> str:
        async with plane.async_client() as client:
            return (await client.server.info()).servo_version

    with local_plane() as plane:
        with plane.client() as client:
            assert client.server.info().servo_version == __version__
        with plane.client(url=plane.http_url) as client:
            assert client.server.info().servo_version == __version__
        assert asyncio.run(ask_async()) == __version__


def test_a_local_plane_has_a_key_that_does_not_show() -> None:
    with local_plane() as plane:
        assert plane.api_key not in repr(plane)
        with (
            plane.client(api_key="other") as client,
            pytest.raises(errors.UnauthenticatedError),
        ):
            client.server.info()


def test_nothing_of_a_local_plane_is_left() -> None:
    with local_plane() as plane, pytest.raises(RuntimeError, match="of the test"):
        raise RuntimeError("of the test")
    with plane.client(retries=0) as client, pytest.raises(errors.UnavailableError):
        client.server.info()
    assert "servo-local-plane" not in {thread.name for thread in threading.enumerate()}


def test_two_local_planes_know_nothing_of_each_other() -> None:
    with local_plane() as one, local_plane() as other, one.client() as client:
        ids = {client.server.info().store_id}
        with other.client() as second:
            ids.add(second.server.info().store_id)
    assert len(ids) == 2
