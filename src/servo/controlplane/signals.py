"""Waking those who watch; what there is to see they look for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from servo.controlplane.tail import Tail
from servo.types.events import Event, TaskProgressed


class Signal:
    """Wakes one who waits for news."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.progress: dict[int, TaskProgressed] = {}

    def set(self) -> None:
        """Say that there is news."""
        self._event.set()

    async def wait(self) -> None:
        """Wait for news since the last wait."""
        await self._event.wait()
        self._event.clear()


class Signals:
    """The signals of everybody who watches one workspace, or a run of it.

    Attributes:
        tail: The newest events, as long as somebody watches.
    """

    def __init__(self) -> None:
        self.tail = Tail()
        self._by_run: dict[str, set[Signal]] = {}
        self._of_workspace: set[Signal] = set()

    def __len__(self) -> int:
        """Return how many wait for news."""
        return len(self._of_workspace) + sum(map(len, self._by_run.values()))

    def subscribe(self, run_id: str) -> Signal:
        """Return a signal that is set whenever there is news of a run."""
        signal = Signal()
        self._by_run.setdefault(run_id, set()).add(signal)
        return signal

    def unsubscribe(self, run_id: str, signal: Signal) -> None:
        """Take a signal back."""
        waiting = self._by_run.get(run_id, set())
        waiting.discard(signal)
        if not waiting:
            self._by_run.pop(run_id, None)
        self._rest()

    def subscribe_to_all(self) -> Signal:
        """Return a signal that is set whenever the workspace's history has grown."""
        signal = Signal()
        self._of_workspace.add(signal)
        return signal

    def unsubscribe_from_all(self, signal: Signal) -> None:
        """Take back a signal of the whole workspace."""
        self._of_workspace.discard(signal)
        self._rest()

    def _rest(self) -> None:
        if not self:
            self.tail.pass_over(self.tail.newest)

    def publish(self, events: Sequence[Event]) -> None:
        """Say what has happened: the next events of the history, durable by now."""
        if not self:
            self.tail.pass_over(events[-1].sequence)
            return
        self.tail.extend(events)
        self.announce({event.run_id for event in events})

    def announce(self, run_ids: Iterable[str]) -> None:
        """Say that there is news of runs; an empty id is for what belongs to no run."""
        for run_id in run_ids:
            for signal in self._by_run.get(run_id, ()):
                signal.set()
        for signal in self._of_workspace:
            signal.set()

    def announce_progress(self, run_id: str, news: TaskProgressed) -> None:
        """Say that a task made progress; only the latest of each task is kept."""
        for signal in self._by_run.get(run_id, ()):
            signal.progress[news.index] = news
            signal.set()

    def announce_all(self) -> None:
        """Wake everybody, for example before the server stops."""
        self.announce(list(self._by_run))
