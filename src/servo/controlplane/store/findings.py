"""What a look at a database has found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

MOST: Final = 20
"""How many problems of one kind are described; the others are counted."""

RESTORE: Final = "restore a backup: `servo db restore FILE`"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it has to be.

    Attributes:
        name: The kind of problem: lower case, with dashes.
        subject: What it is about: a run, an asset, a file.
        message: What is wrong.
        remedy: What to do about it.
    """

    name: str
    subject: str
    message: str
    remedy: str


class Findings:
    """Problems, of each kind the first ones, and how much was looked at.

    Attributes:
        problems: Those that are described.
        counts: How many there are of each kind.
        seen: How many of each thing were looked at.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.counts: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    @property
    def is_sound(self) -> bool:
        """Whether everything is as it has to be."""
        return not self.counts

    def add(self, name: str, subject: str, message: str, remedy: str = RESTORE) -> None:
        """Note a problem."""
        self.counts[name] += 1
        if self.counts[name] <= MOST:
            self.problems.append(Problem(name, subject, message, remedy))

    @property
    def left_out(self) -> dict[str, int]:
        """How many problems of each kind are counted only."""
        return {name: count - MOST for name, count in self.counts.items() if count > MOST}
