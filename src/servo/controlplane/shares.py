"""How many attempts tenants may have under way, and whose turn it is when they compete.

Tenants share nothing but the control plane's own limits: one for each of them, and one for all of
them together. Where the latter is reached, a slot that becomes free goes to the tenant that waits
with the fewest attempts under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Shares:
    """The leases of all tenants of a control plane.

    Args:
        per_tenant: Attempts that one tenant may have under way; 0 for no limit.
        together: Attempts that all of them may have under way; 0 for no limit.
    """

    def __init__(self, per_tenant: int = 0, together: int = 0) -> None:
        self.per_tenant = per_tenant
        self.together = together
        self._held: dict[str, set[str]] = {}
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.per_tenant or self.together)

    def used(self, tenant_id: str) -> int:
        """Return how many attempts a tenant has under way."""
        return len(self._held.get(tenant_id, ()))

    def admits(self, tenant_id: str) -> bool:
        """Tell whether a tenant may have one more attempt under way."""
        used = self.used(tenant_id)
        if self.per_tenant and used >= self.per_tenant:
            return False
        if not self.together:
            return True
        if not self._is_any_free():
            return False
        return all(
            self.used(other) >= used or not self._could_go_on(other)
            for other in self._waiting
            if other != tenant_id
        )

    def _is_any_free(self) -> bool:
        return sum(map(len, self._held.values())) < self.together

    def _could_go_on(self, tenant_id: str) -> bool:
        return not self.per_tenant or self.used(tenant_id) < self.per_tenant

    def take(self, tenant_id: str, task_id: str) -> None:
        """Note that an attempt of a tenant is under way, and wake whoever let it go first."""
        held = self._held.setdefault(tenant_id, set())
        held.add(task_id)
        if self.together and self._is_any_free():
            # It was their turn after those with fewer: this one has as many now.
            self._wake(
                [
                    other
                    for other in self._waiting
                    if other != tenant_id and self.used(other) == len(held)
                ]
            )

    def give_back(self, tenant_id: str, task_id: str) -> None:
        """Note that an attempt has ended, and wake whoever waits."""
        held = self._held.get(tenant_id)
        if held is None or task_id not in held:
            return
        held.discard(task_id)
        if not held:
            del self._held[tenant_id]
        self._wake(self._waiting)

    def wait(self, tenant_id: str, wake: Callable[[], None]) -> None:
        """Ask to be woken when the tenant may have another attempt under way."""
        self._waiting.setdefault(tenant_id, {})[wake] = None

    def stop_waiting(self, tenant_id: str, wake: Callable[[], None]) -> None:
        """Take back what `wait` asked for; those that waited behind it are woken."""
        callers = self._waiting.get(tenant_id)
        if callers is None or wake not in callers:
            return
        del callers[wake]
        if not callers:
            del self._waiting[tenant_id]
            self._wake(self._waiting)

    def _wake(self, tenants: Iterable[str]) -> None:
        # The tenant with the fewest attempts goes first; each asks again what it may.
        for tenant_id in sorted(tenants, key=self.used):
            for wake in list(self._waiting.get(tenant_id, ())):
                wake()
