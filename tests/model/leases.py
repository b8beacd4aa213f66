"""The protocol of leases and fencing tokens as a model small enough to search exhaustively.

One task, two workers, one control plane, one file. Messages may be lost, repeated and overtake each
other; leases run out at any moment; workers and the control plane may die at any moment, and come
back. The model follows CONTRACT 9 and ``servo.controlplane``: a token is given out once, what is
durable is written before anything is sent, and a result counts only while its token is the one that
is out. `search` visits every state that can be reached and says which promises break.

That something bad never happens is looked for in every step. That something good happens at last is
looked for in every state: a task that has not ended is with a worker that lives, or the control
plane itself has a step that takes it on, and every such step brings its end nearer. A run that was
cancelled has one that ends it at once, so that it ends whatever workers and connections do, also
with an attempt that never listens.

With the rules as they are, three tokens and two deaths of the control plane, the search visits
10,530 states over 82,341 steps; ``test_leases.py`` asserts the numbers, and that switching any of
the rules off is found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

READY: Final = "ready"
LEASED: Final = "leased"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
TERMINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELLED})

WORKERS: Final = (0, 1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the implementation checks; switching one off must be noticed.

    Attributes:
        fences_results: The control plane refuses a result whose token is not the one that is out.
        fences_files: A worker does not replace a file that carries a higher token.
        expires: A lease ends by itself when nobody reports on it any more.
        forces_cancel: A cancelled attempt is given up when its grace period is over.
        tokens: How many times the task may be given out.
        crashes: How many times the control plane may die.
    """

    fences_results: bool = True
    fences_files: bool = True
    expires: bool = True
    forces_cancel: bool = True
    tokens: int = 3
    crashes: int = 2


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a worker does for one token."""

    token: int
    published: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Everything that matters, at one moment.

    Attributes:
        task: Its state, on disk.
        token: The token that was given out last; 0 before the first.
        is_cancelling: Whether somebody asked the run to stop.
        dispatches: Messages on their way to workers: worker and token.
        attempts: What each worker executes.
        results: Messages on their way to the control plane: token and whether it went well.
        file: Token of the attempt whose data lies on disk; 0 for none.
        accepted: Tokens whose success was recorded.
        crashes: How often the control plane has died.
    """

    task: str = READY
    token: int = 0
    is_cancelling: bool = False
    dispatches: frozenset[tuple[int, int]] = frozenset()
    attempts: tuple[Attempt | None, ...] = (None, None)
    results: frozenset[tuple[int, bool]] = frozenset()
    file: int = 0
    accepted: tuple[int, ...] = ()
    crashes: int = 0


Step = tuple[str, State]


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Yield everything that may happen next, with a name for people."""
    yield from _control_plane(state, rules)
    for worker in WORKERS:
        yield from _worker(state, rules, worker)
    yield from _network(state, rules)


def _control_plane(state: State, rules: Rules) -> Iterator[Step]:
    yield from _given_out(state, rules)
    if state.task == LEASED and rules.expires:
        # Also while the worker lives: it may be frozen, or cut off.
        yield "the lease runs out", _given_up(state, rules)
    if state.task == LEASED and state.is_cancelling and rules.forces_cancel:
        yield "the grace period is over", _given_up(state, rules)
    if not state.is_cancelling and state.task not in TERMINAL:
        # One event ends everything that no worker holds; what is held is left to end.
        ended = CANCELLED if state.task == READY else state.task
        yield "somebody cancels the run", replace(state, is_cancelling=True, task=ended)
    if state.crashes < rules.crashes:
        # What is on disk stays; what was being sent is lost or has arrived.
        yield "the control plane dies", replace(state, crashes=state.crashes + 1)
        lost = replace(state, crashes=state.crashes + 1, dispatches=frozenset())
        yield "the control plane dies, and its messages with it", lost


def _given_out(state: State, rules: Rules) -> Iterator[Step]:
    if state.task == READY and not state.is_cancelling and state.token < rules.tokens:
        for worker in WORKERS:
            token = state.token + 1
            sent = state.dispatches | {(worker, token)}
            yield (
                f"give token {token} to worker {worker}",
                replace(state, task=LEASED, token=token, dispatches=sent),
            )


def _sure(state: State, rules: Rules) -> Iterator[State]:
    """Yield what happens next if workers and connections do nothing: time is all it needs."""
    for _, after in _given_out(state, rules):
        yield after
    if state.task == LEASED and rules.expires and not _is_reported(state):
        yield _given_up(state, rules)
    if state.task == LEASED and state.is_cancelling and rules.forces_cancel:
        yield _given_up(state, rules)


def _is_reported(state: State) -> bool:
    """Tell whether a worker lives that holds the lease; its heartbeats may extend it for ever."""
    return any(attempt is not None and attempt.token == state.token for attempt in state.attempts)


def _given_up(state: State, rules: Rules) -> State:
    """Nobody will hear of the attempt that holds the lease."""
    if state.is_cancelling:
        return replace(state, task=CANCELLED)
    return replace(state, task=READY if state.token < rules.tokens else FAILED)


def _worker(state: State, rules: Rules, worker: int) -> Iterator[Step]:
    attempt = state.attempts[worker]
    for number, token in state.dispatches:
        if number == worker and attempt is None:
            taken = replace(
                state,
                dispatches=state.dispatches - {(number, token)},
                attempts=_with(state.attempts, worker, Attempt(token)),
            )
            yield f"worker {worker} begins token {token}", taken
    if attempt is None:
        return
    yield f"worker {worker} dies", replace(state, attempts=_with(state.attempts, worker, None))
    if not attempt.published:
        failed = replace(
            state,
            attempts=_with(state.attempts, worker, None),
            results=state.results | {(attempt.token, False)},
        )
        yield f"worker {worker} fails token {attempt.token}", failed
        if rules.fences_files and state.file > attempt.token:
            yield f"worker {worker} may not publish token {attempt.token}", failed
        else:
            published = replace(
                state,
                file=attempt.token,
                attempts=_with(state.attempts, worker, replace(attempt, published=True)),
            )
            yield f"worker {worker} publishes token {attempt.token}", published
    else:
        reported = replace(
            state,
            attempts=_with(state.attempts, worker, None),
            results=state.results | {(attempt.token, True)},
        )
        yield f"worker {worker} reports token {attempt.token}", reported


def _network(state: State, rules: Rules) -> Iterator[Step]:
    for token, went_well in state.results:
        rest = state.results - {(token, went_well)}
        yield f"the result of token {token} is lost", replace(state, results=rest)
        after = _received(state, rules, token, went_well)
        yield f"the result of token {token} arrives", replace(after, results=rest)
        yield f"the result of token {token} arrives and is sent again", after
    for sent in state.dispatches:
        rest_of = state.dispatches - {sent}
        yield f"the dispatch {sent} is lost", replace(state, dispatches=rest_of)


def _received(state: State, rules: Rules, token: int, went_well: bool) -> State:
    is_out = state.task == LEASED and state.token == token
    if rules.fences_results and not is_out:
        return state
    if went_well:
        return replace(state, task=SUCCEEDED, accepted=(*state.accepted, token)[-3:])
    if state.task in TERMINAL:
        return state
    return _given_up(state, rules)


def _with(
    attempts: tuple[Attempt | None, ...], worker: int, new: Attempt | None
) -> tuple[Attempt | None, ...]:
    return tuple(new if number == worker else old for number, old in enumerate(attempts))


@dataclass(slots=True)
class Search:
    """What a search has found.

    Attributes:
        states: How many states can be reached.
        steps: How many steps there are between them.
        broken: For each promise that breaks, the shortest story that ends with it broken.
    """

    states: int = 0
    steps: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict)


def search(rules: Rules) -> Search:
    """Visit every state that can be reached, nearest first."""
    start = State()
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    before: dict[State, list[State]] = {start: []}
    waiting = deque([start])
    found = Search()
    while waiting:
        state = waiting.popleft()
        for promise in _neglected(state, rules):
            found.broken.setdefault(promise, _story(came_from, state))
        for name, after in steps(state, rules):
            found.steps += 1
            if after not in came_from:
                came_from[after] = (state, name)
                before[after] = []
                waiting.append(after)
            before[after].append(state)
            for promise in _broken_by(state, after):
                found.broken.setdefault(promise, [*_story(came_from, state), name])
    found.states = len(came_from)
    for state in came_from.keys() - _leads_to_an_end(before):
        found.broken.setdefault("every task ends", _story(came_from, state))
    return found


def _broken_by(state: State, after: State) -> Iterator[str]:
    if state.task in TERMINAL and after.task != state.task:
        yield "a terminal state never changes"
    if len(after.accepted) > 1:
        yield "a task completes once"
    if after.task == SUCCEEDED and after.accepted and after.file != after.accepted[-1]:
        yield "what is recorded is what lies on disk"
    if after.is_cancelling and not state.is_cancelling and after.task == READY:
        yield "a cancelled run starts nothing"
    if state.is_cancelling and after.token > state.token:
        yield "a cancelled run starts nothing"


def _neglected(state: State, rules: Rules) -> Iterator[str]:
    if state.task in TERMINAL:
        return
    sure = list(_sure(state, rules))
    if state.is_cancelling:
        if not any(after.task in TERMINAL for after in sure):
            yield "a cancelled run ends"
    elif not sure and not _is_reported(state):
        yield "no task is lost"


def _leads_to_an_end(before: dict[State, list[State]]) -> set[State]:
    """Return the states from which a terminal one can be reached."""
    reached = {state for state in before if state.task in TERMINAL}
    waiting = list(reached)
    while waiting:
        for earlier in before[waiting.pop()]:
            if earlier not in reached:
                reached.add(earlier)
                waiting.append(earlier)
    return reached


def _story(came_from: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    told: list[str] = []
    link = came_from[state]
    while link is not None:
        state, name = link
        told.append(name)
        link = came_from[state]
    return told[::-1]
