"""A control plane on a PostgreSQL server, as far as that needs no server."""

from __future__ import annotations

import asyncio

import pytest

from servo import errors
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    config = ControlPlaneConfig(database="postgresql://user:hidden@127.0.0.1:1/servo", api_key="k")
    with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1:1/servo") as refused:
        asyncio.run(ControlPlane(config).start())
    assert "hidden" not in str(refused.value)
    assert refused.value.retry_after
