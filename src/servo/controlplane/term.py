"""The time in which a process schedules: a store, and everything that stands on it.

A process with a SQLite file has one term, as long as its life. One that shares a PostgreSQL
database has none while another process schedules, and a new one whenever it takes over; nothing
but the ports outlives a term.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from servo.controlplane.endpoints import Endpoints
from servo.controlplane.http import HttpApp
from servo.controlplane.identity import Gate
from servo.controlplane.keys import KeyRing
from servo.controlplane.limits import Limiter
from servo.controlplane.plane import Plane
from servo.controlplane.rpc import Router
from servo.controlplane.service import Service
from servo.controlplane.shares import Shares
from servo.controlplane.store.store import Store

if TYPE_CHECKING:
    from servo.controlplane.serve import ControlPlaneConfig


class Term:
    """A store, its keys, the plane, and the verbs for both ports.

    Args:
        config: How the control plane is set up.
        store: The store; closed with the term.
        on_lost: Called when the store cannot be written any more.
    """

    def __init__(
        self, config: ControlPlaneConfig, store: Store, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self.store = store
        self.keys = KeyRing(store, config.api_key)
        self.plane = Plane(
            store,
            lease_length=config.lease_length,
            cancel_grace=config.cancel_grace,
            shares=Shares(config.max_tasks_per_tenant, config.max_tasks),
            on_lost=on_lost,
        )
        tokens = None
        if config.oidc is not None:
            from servo.controlplane.oidc import OidcVerifier

            tokens = OidcVerifier(config.oidc)
        gate = Gate(
            self.keys,
            self.plane.has_workspace,
            limiter=None if config.rate_limit is None else Limiter(config.rate_limit),
            tokens=tokens,
        )
        self.endpoints = Endpoints(Service(self.plane, self.keys, config.watch_limits), gate)
        self.router = Router(self.endpoints)
        self.app = HttpApp(
            self.endpoints,
            lambda: not self.plane.is_stopping,
            max_request_bytes=config.max_request_bytes,
            cors_origins=config.cors_origins,
            is_own_name=config.is_own_name,
        )

    async def begin(self) -> None:
        """Go on with every run that had not ended."""
        await self.plane.start()

    async def end(self) -> None:
        """Record what is under way, as far as the store takes it; runs go on in another term."""
        await self.plane.stop()
        await asyncio.to_thread(self.store.close)
