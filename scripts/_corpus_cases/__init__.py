"""The messages of the conformance corpus, written down as protobuf's JSON."""

from __future__ import annotations

from _corpus_cases.access import ACCESS
from _corpus_cases.case import Case
from _corpus_cases.definitions import DEFINITIONS
from _corpus_cases.deployments import DEPLOYMENTS
from _corpus_cases.edges import EDGES
from _corpus_cases.runs import RUNS
from _corpus_cases.sessions import SESSIONS

__all__ = ["CASES", "EDGES", "USUAL", "Case"]

USUAL: tuple[Case, ...] = (*DEFINITIONS, *DEPLOYMENTS, *RUNS, *SESSIONS, *ACCESS)
"""Messages as Servo writes them."""

CASES: tuple[Case, ...] = (*USUAL, *EDGES)
"""All of them; the edges are messages that any implementation must read all the same."""
