"""Each benchmark works, at a tiny size, and says what it found."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "run.py"), *arguments, "--folder", str(folder)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, cwd=folder
    )


def measured(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    done = run(name, "--quick", "--repeat", "1", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["measurements"]
    return {one["what"]: one for one in found}


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_measure", FOLDER / "measure.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_importing_servo_is_measured_beside_a_bare_interpreter(tmp_path: Path) -> None:
    found = measured("imports", tmp_path)
    assert found["import servo"]["beside"] == "python -c pass"
    assert found["import servo"]["median"] > found["import servo"]["beside_median"] > 0


def test_importing_servo_loads_few_modules_and_no_heavy_one(tmp_path: Path) -> None:
    found = measured("imports", tmp_path)
    assert found["import servo: modules in sys.modules"]["ok"]
    assert found["import servo: heavy modules among them"]["ok"]
    assert found["every name of servo: heavy modules among them"]["ok"]


@pytest.mark.slow
def test_runs_survive_a_storm(tmp_path: Path) -> None:
    found = measured("chaos", tmp_path)
    assert found["kills of the control plane, all survived"]["median"] == 12
    assert found["runs that came to their end"]["median"] >= 1


def test_building_a_manifest_is_measured_beside_executing_its_files(tmp_path: Path) -> None:
    found = measured("manifest", tmp_path)
    built = found["servo-gen manifest, 500 assets in 100 files: built again"]
    assert built["beside"] == "compile and execute the files"
    assert built["ratio"] > 1
    assert found["JSON of 500 assets"]["median"] > 0.1
    assert found["a chain of 1,000 assets: planned by the control plane"]["note"] == "1,000 tasks"


@pytest.mark.slow
def test_tasks_are_run_durably_by_a_control_plane_and_a_worker(tmp_path: Path) -> None:
    found = measured("tasks", tmp_path)
    few = found["30 tasks, durable, from CreateRun to the terminal event"]
    assert few["unit"] == "ms/task"
    assert few["median"] > 0
    assert found["ten times the tasks: 300"]["beside"] == "30 tasks"
    shared = found["PostgreSQL, 30 tasks, durable, from CreateRun to the terminal event"]
    assert shared["median"] > 0
    assert shared["limit"] == 3


@pytest.mark.slow
def test_an_event_is_timed_from_its_commit_to_its_watcher_and_a_task_until_it_starts(
    tmp_path: Path,
) -> None:
    found = measured("latency", tmp_path)
    watched = found["an event's time to its arrival at who watches, commit and all: p99"]
    assert watched["note"].startswith("70 of them")  # seven events in each of ten runs
    assert watched["median"] > 0
    started = found["ready to started, on an idle worker: p95"]
    assert started["note"].startswith("10 of them")
    assert started["median"] > 0


@pytest.mark.slow
def test_idle_workers_join_on_connections_of_their_own(tmp_path: Path) -> None:
    found = measured("idle", tmp_path)
    one = found["the control plane with 100 idle workers, each on a connection of its own"]
    assert one["limit"] == 2
    assert 0 <= one["median"] < 100


@pytest.mark.slow
def test_the_memory_of_a_control_plane_is_followed_over_many_events(tmp_path: Path) -> None:
    found = measured("soak", tmp_path)
    slope = next(one for what, one in found.items() if "slope" in what)
    # 100 tasks have four events each, and their run has three.
    assert slope["what"].endswith("of 2,015 events")
    assert slope["limit"] == 1
    after = found["memory of the control plane after 2,015 events"]
    assert after["median"] > 10


@pytest.mark.slow
def test_a_long_chain_is_selected_and_run_and_left_behind(tmp_path: Path) -> None:
    found = measured("history", tmp_path)
    assert found["a chain of 200 tasks: from CreateRun to the last event"]["median"] > 0
    for title in ("2 runs of 100 tasks", "a chain of 200 tasks"):
        before = found[f"memory of the control plane with {title} behind it"]
        again = found[f"memory of the control plane with {title} behind it, started again"]
        assert before["limit"] == again["limit"] == 300
        assert before["median"] > 10 < again["median"]


@pytest.mark.slow
def test_both_databases_are_read_while_runs_go_on(tmp_path: Path) -> None:
    found = measured("rows", tmp_path)
    for kind in ("SQLite", "PostgreSQL"):
        title = f"{kind}, 2,000 tasks, runs going on: "
        looks = {what.removeprefix(title) for what in found if what.startswith(title)}
        assert {
            "ListRuns, the newest 100: p95",
            "GetRun with 100 of 1,000 tasks: p95",
            "ListMaterializations, 100 current partitions: p95",
            "GetAsset (asset show): p95",
        } <= looks
    assert all(one["limit"] == 50 and one["median"] > 0 for one in found.values())


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(measure: ModuleType) -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert measure.percentile(values, 95) == 95.0
    assert measure.percentile(values, 99) == 99.0
    assert measure.percentile([3.0], 99) == 3.0


def test_a_slope_is_that_of_the_line_that_fits_best(measure: ModuleType) -> None:
    assert measure.slope([(0, 10), (10, 31), (20, 49), (30, 70)]) == pytest.approx(1.98)


def test_calls_are_measured_beside_grpcio_alone(tmp_path: Path) -> None:
    found = measured("calls", tmp_path)
    for client in ("Client", "AsyncClient"):
        one = found[f"a unary call: {client}, gRPC, every interceptor"]
        assert one["beside"].startswith("grpcio bare")
        assert one["limit"] == 1.15
        assert one["median"] > 0
    assert found["a unary call: Client, HTTP/JSON, every interceptor"]["median"] > 0


def test_the_table_shows_what_was_measured(tmp_path: Path) -> None:
    done = run("imports", "--quick", "--repeat", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "servo --help" in done.stdout
    assert "python -c pass" in done.stdout


def test_results_are_written_to_a_file_and_the_work_is_cleaned_up(tmp_path: Path) -> None:
    output = tmp_path / "results" / "today.json"
    work = tmp_path / "work"
    work.mkdir()
    done = run("imports", "--quick", "--repeat", "1", "--output", str(output), folder=work)
    assert done.returncode == 0, done.stderr
    assert json.loads(output.read_text())["machine"]["cores"] >= 1
    assert list(work.iterdir()) == []


def test_an_unknown_benchmark_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    done = run("speed", folder=tmp_path)
    assert done.returncode == 2
    assert "unknown benchmark 'speed'; there are imports, manifest, tasks" in done.stderr


def measurement(measure: ModuleType, **fields: Any) -> Any:
    return measure.Measurement(benchmark="b", what="w", unit="s", **fields)


def test_a_ratio_is_the_median_of_the_pairs_when_runs_alternated(measure: ModuleType) -> None:
    # The machine was ten times slower during the second pair; both of it say so.
    one = measurement(measure, samples=(2.0, 30.0, 2.0), beside_samples=(1.0, 10.0, 1.0))
    assert one.ratio == 2.0


def test_a_ratio_is_that_of_the_medians_when_they_did_not(measure: ModuleType) -> None:
    assert measurement(measure, samples=(2.0, 4.0, 6.0), beside_samples=(2.0,)).ratio == 2.0


def test_a_limit_judges_what_it_is_for(measure: ModuleType) -> None:
    fields = {"samples": (90.0,), "beside_samples": (50.0,), "limit": 60}
    assert measurement(measure, **fields).is_within_limit is False
    assert measurement(measure, judged=measure.Judged.DIFFERENCE, **fields).is_within_limit is True
    assert measurement(measure, judged=measure.Judged.RATIO, **fields).is_within_limit is True


def test_a_measurement_without_a_limit_is_not_judged(measure: ModuleType) -> None:
    assert measurement(measure, samples=(1.0,)).is_within_limit is None


def test_a_process_that_fails_ends_the_benchmark_with_what_it_said(measure: ModuleType) -> None:
    with pytest.raises(measure.BenchmarkError, match=r"ended with 3 .*\n.*no such luck") as failed:
        measure.run([sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); "
                     "sys.exit(3)"])  # fmt: skip
    assert "sys.exit(3)" in str(failed.value)


def test_a_process_that_takes_too_long_is_killed(measure: ModuleType) -> None:
    with pytest.raises(measure.BenchmarkError, match="ended with -9"):
        measure.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)


def test_measured_processes_write_byte_code_and_know_no_settings(
    measure: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("SERVO_API_URL", "grpc://elsewhere:1")
    monkeypatch.setenv("CI", "true")
    names = measure.environment(SERVO_API_KEY="k")
    assert {"PYTHONDONTWRITEBYTECODE", "SERVO_API_URL", "CI"}.isdisjoint(names)
    assert names["SERVO_API_KEY"] == "k"


def test_comparing_process_state_is_measured_beside_an_attempt_that_does_nothing(
    tmp_path: Path,
) -> None:
    found = measured("state", tmp_path)
    compared = found["process state compared after an attempt"]
    assert compared["median"] > 0 < compared["beside_median"]
    assert compared["limit"] == 50
