"""Cycles in a graph of any size and depth, without recursion."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar


class _Sortable(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...
    def __hash__(self) -> int: ...


N = TypeVar("N", bound=_Sortable)


def find_cycles(successors: Mapping[N, Sequence[N]]) -> Iterator[list[N]]:
    """Yield one shortest cycle for each knot of nodes that reach each other.

    Args:
        successors: Node to the nodes it points to, each of them a key as well.

    Yields:
        The nodes of a cycle in order, beginning with the smallest node of the knot.
    """
    rest = _beyond_sources(successors)
    if not rest:
        return
    within = {node: [one for one in successors[node] if one in rest] for node in sorted(rest)}
    for knot in sorted(_components(within), key=min):
        if len(knot) > 1 or knot[0] in within[knot[0]]:
            yield _shortest_cycle(min(knot), within, set(knot))


def _beyond_sources(successors: Mapping[N, Sequence[N]]) -> set[N]:
    """Remove whatever points to nothing, again and again; return what cannot be removed."""
    predecessors: dict[N, list[N]] = {node: [] for node in successors}
    missing = {node: len(targets) for node, targets in successors.items()}
    for node, targets in successors.items():
        for target in targets:
            predecessors[target].append(node)
    ready = [node for node, count in missing.items() if count == 0]
    while ready:
        node = ready.pop()
        del missing[node]
        for one in predecessors[node]:
            missing[one] -= 1
            if missing[one] == 0:
                ready.append(one)
    return set(missing)


def _components(successors: Mapping[N, Sequence[N]]) -> Iterator[list[N]]:
    """Yield the strongly connected components (Tarjan's algorithm with its own stack)."""
    index: dict[N, int] = {}
    low: dict[N, int] = {}
    stack: list[N] = []
    on_stack: set[N] = set()
    for root in successors:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        work = [(root, iter(successors[root]))]
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(successors[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    component = [stack.pop()]
                    while component[-1] != node:
                        component.append(stack.pop())
                    on_stack.difference_update(component)
                    yield component


def _shortest_cycle(start: N, successors: Mapping[N, Sequence[N]], knot: set[N]) -> list[N]:
    came_from: dict[N, N] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for target in successors[node]:
            if target == start:
                path = [node]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if target in knot and target not in came_from:
                came_from[target] = node
                queue.append(target)
    raise AssertionError(f"{start!r} is in a knot, so a cycle leads through it")
