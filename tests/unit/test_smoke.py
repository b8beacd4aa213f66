"""The smoke test says what is wrong with an installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from servo import smoke


def test_a_source_tree_is_not_taken_for_an_installation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert smoke.main([]) == 1
    said = capsys.readouterr()
    assert "installed package failed: servo was loaded from" in said.err
    assert "smoke: ok" not in said.out


@pytest.mark.parametrize(
    "step",
    [
        smoke.recorded_version,
        smoke.shipped_files,
        smoke.public_names,
        smoke.manifest_of_two_assets,
        smoke.grpc_round_trip,
    ],
    ids=lambda step: step.__name__,
)
def test_every_other_step_passes_here(step: smoke.Step) -> None:
    assert step()


def test_the_generators_of_a_development_environment_are_noticed() -> None:
    with pytest.raises(smoke.SmokeError, match=r"\['betterproto2', 'grpc_tools', "):
        smoke.no_generators()


def test_a_distribution_without_the_example_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(smoke.SmokeError, match="the distribution is incomplete"):
        smoke.example_manifest(tmp_path / "golden.json")
