"""How long random histories are searched, and how."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

SEARCH = settings(
    stateful_step_count=50,
    # A slow example says something about the machine.
    suppress_health_check=[HealthCheck.too_slow],
)
"""As many histories as the profile says."""

UNTIL_BROKEN = settings(
    SEARCH,
    max_examples=400,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
"""The same histories every time, until one breaks a promise."""
