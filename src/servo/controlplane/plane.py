"""What a control plane consists of: the store, the journal, the workspaces, the catalogs."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from itertools import chain

from servo import _wire, errors
from servo.controlplane.catalog import Catalog
from servo.controlplane.clock import Clock
from servo.controlplane.fair_threads import FairThreads
from servo.controlplane.journal import Journal
from servo.controlplane.shares import Shares
from servo.controlplane.store.store import Store
from servo.controlplane.workspace import Workspace
from servo.types.records import Run

_LOG = logging.getLogger(__name__)

TICK = 0.1
"""How often leases and retries are looked at, seconds."""

_PROBED_EVERY = 1.0
"""How often a database that refused a write is tried again, seconds."""

_CATALOGS = 8


class Plane:
    """The parts of a running control plane, and how they come up and go down.

    Args:
        store: The store; closed by whoever opened it.
        lease_length: How long a lease lasts without a heartbeat.
        cancel_grace: How long a cancelled attempt may take to end by itself.
        shares: How many attempts tenants may have under way; without limit by default.
        clock: What time it is; by default what the machine says.
        on_lost: Called when the store cannot be written any more: another process schedules, or
            the database is away. The plane has forgotten its state then, and `stop` is next.
    """

    def __init__(
        self,
        store: Store,
        *,
        lease_length: timedelta,
        cancel_grace: timedelta,
        shares: Shares | None = None,
        clock: Clock | None = None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.lease_length = lease_length
        self.cancel_grace = cancel_grace
        self.shares = shares or Shares()
        self.clock = clock or Clock()
        # One big plan of a tenant leaves its other requests a thread, two leave one to the others.
        self.threads = FairThreads("servo-plan", threads=4, per_tenant=2, waiting=100)
        self.is_stopping = False
        self._on_lost = on_lost
        self.journal = Journal(store, self._reload)
        self._workspaces: dict[tuple[str, str], Workspace] = {}
        self._catalogs: OrderedDict[tuple[int, str], Catalog] = OrderedDict()
        self._opening = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def active_runs(self) -> int:
        """The number of runs that have not ended."""
        return sum(len(workspace.active) for workspace in self._workspaces.values())

    @property
    def active_workspaces(self) -> tuple[tuple[str, str], ...]:
        """Tenant and workspace of those that have runs that have not ended."""
        return tuple(key for key, workspace in self._workspaces.items() if workspace.active)

    @property
    def connected_workers(self) -> int:
        """The number of workers that hold a session."""
        return sum(len(workspace.sessions) for workspace in self._workspaces.values())

    @property
    def watchers(self) -> int:
        """The number of streams that follow a run or its log."""
        return sum(len(workspace.signals) for workspace in self._workspaces.values())

    async def start(self) -> None:
        """Go on with every run that had not ended."""
        for _, tenant_id, workspace_id in await self.store.workspaces():
            await self.workspace(tenant_id, workspace_id)
        if self.active_runs:
            _LOG.info("going on with %d runs that had not ended", self.active_runs)
        self._tasks = [
            asyncio.create_task(self.journal.run(), name="journal"),
            asyncio.create_task(self._tick(), name="ticks"),
        ]

    async def stop(self) -> None:
        """Write what is open and end the sessions; the runs go on at the next start."""
        self.is_stopping = True
        self.threads.close()
        for workspace in self._workspaces.values():
            for session in workspace.sessions.values():
                session.close()
            workspace.signals.announce_all()
        if not self._tasks:
            return
        journal, ticks = self._tasks
        ticks.cancel()
        self.journal.close()
        await asyncio.wait([journal, ticks])

    async def workspace(self, tenant_id: str, workspace_id: str) -> Workspace:
        """Return a workspace; made when it does not exist yet."""
        found = self._workspaces.get((tenant_id, workspace_id))
        if found is not None and found.is_loaded:
            return found
        async with self._opening:
            found = self._workspaces.get((tenant_id, workspace_id))
            if found is None:
                number = await self.store.workspace(tenant_id, workspace_id)
                found = Workspace(
                    number,
                    tenant_id,
                    workspace_id,
                    store=self.store,
                    journal=self.journal,
                    lease_length=self.lease_length,
                    cancel_grace=self.cancel_grace,
                    clock=self.clock,
                    shares=self.shares,
                )
                await self._load(found)
                self._workspaces[tenant_id, workspace_id] = found
        return found

    def has_workspace(self, tenant_id: str, workspace_id: str) -> bool:
        """Tell whether a workspace exists; every stored one was loaded at the start."""
        return (tenant_id, workspace_id) in self._workspaces

    def activity(self, tenant_id: str, workspace_id: str) -> tuple[int, int]:
        """Return how many workers a workspace has, and how many runs that have not ended."""
        found = self._workspaces.get((tenant_id, workspace_id))
        return (len(found.sessions), len(found.active)) if found else (0, 0)

    async def catalog(self, workspace: Workspace, deployment_id: str) -> Catalog:
        """Return the assets of a deployment.

        Raises:
            servo.errors.NotFoundError: There is no such deployment.
        """
        key = (workspace.number, deployment_id)
        found = self._catalogs.get(key)
        if found is None:
            deployment = await self.store.deployment(workspace.number, deployment_id)
            if deployment is None:
                raise errors.NotFoundError(
                    f"there is no deployment {deployment_id!r}", code="DEPLOYMENT_NOT_FOUND"
                )
            chunks = await self.store.chunks(workspace.number, deployment.chunk_digests)
            found = await self.threads.run(
                workspace.tenant_id,
                lambda: Catalog(
                    deployment_id,
                    chain.from_iterable(map(_wire.decode_chunk, chunks)),
                    workspace.asset_ids,
                ),
            )
            self.keep_catalog(workspace, found)
        self._catalogs.move_to_end(key)
        return found

    async def chosen_catalog(self, workspace: Workspace, deployment_id: str) -> Catalog:
        """Return the assets of a deployment, by default the current one.

        Raises:
            servo.errors.NotFoundError: There is no such deployment, or none at all.
        """
        wanted = deployment_id or workspace.current_deployment_id
        if not wanted:
            raise errors.NotFoundError(
                "nothing is deployed yet; run `servo deploy` first", code="NO_DEPLOYMENT"
            )
        return await self.catalog(workspace, wanted)

    def keep_catalog(self, workspace: Workspace, catalog: Catalog) -> None:
        """Keep a catalog at hand, in place of the one that was used longest ago."""
        self._catalogs[workspace.number, catalog.deployment_id] = catalog
        while len(self._catalogs) > _CATALOGS:
            self._catalogs.popitem(last=False)

    async def _load(self, workspace: Workspace) -> None:
        await workspace.load(lambda deployment_id: self.catalog(workspace, deployment_id))

    async def _reload(self, problem: Exception) -> None:
        """Read everything again after a write was refused, unless there is nothing to read from."""
        for workspace in self._workspaces.values():
            workspace.unload()
        self._catalogs.clear()
        if not isinstance(problem, errors.UnavailableError):
            try:
                # Whoever asks for a workspace meanwhile waits for the lock.
                async with self._opening:
                    for workspace in self._workspaces.values():
                        await self._load(workspace)
                return
            except errors.UnavailableError as exc:
                _LOG.error("%s", exc)
        self.is_stopping = True
        for workspace in self._workspaces.values():
            workspace.signals.announce_all()
        self._on_lost()

    async def _tick(self) -> None:
        tried, probe = 0.0, None
        while True:
            await asyncio.sleep(TICK)
            now = self.clock.monotonic()
            is_due = self.journal.trouble and now - tried >= _PROBED_EVERY
            if is_due and (probe is None or probe.done()):
                # Not awaited: a disk that hangs must not keep leases from running out.
                tried, probe = now, asyncio.create_task(self.journal.probe())
            for workspace in self._workspaces.values():
                # One that is being read again has nothing that could be decided on.
                if workspace.is_loaded:
                    workspace.tick()


async def stored_run(workspace: Workspace, run_id: str) -> Run:
    """Return a run of a workspace as it is stored, without tasks.

    Raises:
        servo.errors.NotFoundError: There is no such run.
    """
    found = await workspace.store.run(workspace.number, run_id)
    if found is None:
        raise run_not_found(run_id)
    return found


def run_not_found(run_id: str) -> errors.NotFoundError:
    """Return what is said of a run that a workspace does not have."""
    return errors.NotFoundError(
        f"there is no run {run_id!r}; `servo status` lists the runs",
        code="RUN_NOT_FOUND",
        context={"run_id": run_id},
    )
