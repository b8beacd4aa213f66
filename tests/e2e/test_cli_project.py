from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

from servo_project import ServoProject, is_alive, wait_until

ONE = '''
from servo import asset, row_count


@asset(namespace="raw", checks=[row_count(min_rows=1)])
def orders(ctx):
    """Orders."""
    return [{"a": 1}]
'''


def files(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_looking_writes_nothing(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    before = files(project.root)
    project.ok("validate")
    project.ok("asset", "list")
    project.ok("asset", "show", "raw.orders")
    project.ok("config", "show")
    project.ok("deploy", "--dry-run")
    assert files(project.root) == before


def test_a_dry_run_prints_the_manifest_with_empty_ids(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    manifest = project.ok("deploy", "--dry-run", "--json").json
    assert [(item["key"]["name"], item["id"]) for item in manifest["assets"]] == [("orders", "")]


def test_a_deploy_records_ids_and_an_unchanged_one_nothing(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    first = project.ok("deploy", "--output", "manifest.json")
    assert "Deployed 1 asset" in first.out
    ids = project.ids()
    written = (project.root / "manifest.json").read_text()
    assert ids["raw.orders"] in written
    assert written == json.dumps(json.loads(written), separators=(",", ":"), sort_keys=True)
    changed = (project.root / ".servo" / "state.json").stat().st_mtime_ns
    assert "Nothing changed" in project.ok("deploy").out
    assert (project.root / ".servo" / "state.json").stat().st_mtime_ns == changed


def test_a_deploy_says_what_changed(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    project.ok("deploy", "--no-verify")
    project.write("assets/a.py", ONE.replace("min_rows=1", "min_rows=2"))
    assert "~ raw.orders: checks" in project.ok("deploy", "--dry-run", "--no-verify").out
    assert "~ raw.orders: checks" in project.ok("deploy", "--no-verify").out


def test_where_ci_is_set_new_assets_are_refused(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    done = project.run("deploy", "--no-verify", CI="true")
    assert done.code == 78, done
    assert "raw.orders" in done.err


def test_every_module_that_fails_is_listed(project: ServoProject) -> None:
    project.write("assets/a.py", "def broken(:\n")
    project.write("assets/b.py", "import no_such_module\n")
    for command in ("validate", "deploy", "run"):
        done = project.run(command, *(["*"] if command == "run" else []))
        assert done.code == 2, done
        assert "assets/a.py:1" in done.err
        assert "no_such_module" in done.err


def test_a_manifest_that_is_built_differently_each_time_is_refused(project: ServoProject) -> None:
    project.write(
        "assets/a.py", ONE.replace("namespace", "owners=list({'a', 'b', 'c', 'd'}), namespace")
    )
    done = project.run("deploy", PYTHONHASHSEED="0")
    assert done.code == 2, done
    assert "owners" in done.err
    project.ok("deploy", "--no-verify", PYTHONHASHSEED="0")


def test_a_renamed_asset_keeps_its_id(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    project.ok("deploy", "--no-verify")
    old = project.ids()["raw.orders"]
    project.write("assets/a.py", ONE.replace("def orders", "def sales"))
    offered = project.ok("deploy", "--dry-run", "--no-verify")
    assert "servo asset rename raw.orders raw.sales" in offered.out
    project.ok("asset", "rename", "raw.orders", "raw.sales")
    assert "> raw.sales (was raw.orders)" in project.ok("deploy", "--no-verify").out
    assert project.ids() == {"raw.sales": old}


def _history(project: ServoProject) -> list[tuple[str, int]]:
    listed = project.ok("asset", "list", "--json").json["assets"]
    return [
        (item["definition"]["key"]["name"], int(item.get("materializedPartitions", 0)))
        for item in listed
    ]


def test_an_asset_goes_on_under_its_old_name_until_the_function_is_renamed(
    project: ServoProject,
) -> None:
    project.write("assets/a.py", ONE)
    project.ok("run", "*")
    kept = project.ids()["raw.orders"]
    project.ok("asset", "rename", "raw.orders", "raw.sales")
    project.ok("run", "*")
    project.ok("validate")
    assert _history(project) == [("orders", 1)]
    project.write("assets/a.py", ONE.replace("def orders", "def sales"))
    assert _history(project) == [("sales", 1)]
    project.ok("run", "*")
    assert project.ids() == {"raw.sales": kept}
    assert _history(project) == [("sales", 1)]


def test_an_asset_that_was_deployed_under_its_new_name_first_gets_its_history_back(
    project: ServoProject,
) -> None:
    project.write("assets/a.py", ONE)
    project.ok("run", "*")
    kept = project.ids()["raw.orders"]
    project.write("assets/a.py", ONE.replace("def orders", "def sales"))
    project.ok("deploy", "--no-verify")
    assert _history(project) == [("sales", 0)]
    project.ok("asset", "rename", "raw.orders", "raw.sales")
    project.ok("deploy", "--no-verify")
    assert project.ids() == {"raw.sales": kept}
    assert _history(project) == [("sales", 1)]


def test_a_rename_onto_an_asset_with_a_history_says_what_to_do(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    project.ok("run", "*")
    kept = project.ids()["raw.orders"]
    project.write("assets/a.py", ONE.replace("def orders", "def sales"))
    project.ok("run", "*")
    before = project.ids()
    done = project.run("asset", "rename", "raw.orders", "raw.sales")
    assert done.code == 2, done
    assert "servo asset rename --replace raw.orders raw.sales" in done.err
    assert project.ids() == before
    project.ok("asset", "rename", "--replace", "raw.orders", "raw.sales")
    project.ok("run", "*")
    assert project.ids() == {"raw.sales": kept}


def test_a_lockfile_that_gives_one_id_twice_is_repaired_by_the_command_that_the_error_names(
    project: ServoProject,
) -> None:
    project.write("assets/a.py", ONE)
    project.ok("run", "*")
    kept = project.ids()["raw.orders"]
    ruined = json.dumps({"assetIds": {"raw.orders": kept, "raw.sales": kept}, "version": "1.0"})
    project.write(".servo/state.json", ruined)
    done = project.run("validate")
    assert done.code == 78, done
    assert "servo asset repair" in done.err
    plan = project.ok("asset", "repair", "--dry-run", "--json").json
    assert plan["dryRun"]
    assert [(one["assetId"], one["kept"], one["removed"]) for one in plan["repairs"]] == [
        (kept, "raw.orders", ["raw.sales"])
    ]
    assert (project.root / ".servo" / "state.json").read_text() == ruined
    assert "raw.orders keeps" in project.ok("asset", "repair").out
    assert project.ids() == {"raw.orders": kept}
    assert "Nothing to repair" in project.ok("asset", "repair").out
    assert _history(project) == [("orders", 1)]


def test_a_repair_that_cannot_be_decided_asks_which_key_keeps_the_id(
    project: ServoProject,
) -> None:
    project.write("assets/a.py", ONE)
    doubled = {"raw.gone": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "raw.lost": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    project.write(".servo/state.json", json.dumps({"assetIds": doubled, "version": "1.0"}))
    assert "--keep raw.lost" in project.run("asset", "repair").err
    # Of a module that cannot be imported nothing is known.
    project.write("assets/a.py", "raise RuntimeError")
    project.ok("asset", "repair", "--keep", "raw.gone")
    assert set(project.ids()) == {"raw.gone"}


def test_a_workspace_of_its_own_has_its_own_deployment(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    project.ok("deploy", "--no-verify", "--workspace", "staging")
    run = project.ok("run", "raw.orders", "--json", SERVO_WORKSPACE_ID="staging").json
    assert run["state"] == "RUN_STATE_SUCCEEDED"
    assert project.ok("status", "--json").json["runs"] == []


def test_the_asset_list_shows_what_is_materialised(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    project.ok("run", "*")
    listed = project.ok("asset", "list", "--json").json["assets"]
    assert [item["materializedPartitions"] for item in listed] == ["1"]
    shown = project.ok("asset", "show", "raw.orders").out
    assert "a: int64" in shown


def test_an_unknown_asset_suggests_a_close_one(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    done = project.run("asset", "show", "raw.order")
    assert done.code == 2, done
    assert "Did you mean 'raw.orders'?" in done.err


def test_outside_of_a_project_it_is_said_how_to_make_one(
    project: ServoProject, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = project.run("--project", str(elsewhere), "validate")
    assert done.code == 78, done
    assert "servo init" in done.err


def test_a_server_that_is_not_there_is_named(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    done = project.run("status", "--json", SERVO_API_URL="grpc://127.0.0.1:1")
    assert done.code == 69, done
    assert "grpc://127.0.0.1:1" in done.err
    assert done.json["category"] == "ERROR_CATEGORY_NETWORK"


def test_dev_serves_reloads_and_leaves_nothing(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    dev = project.start("dev", PYTHONUNBUFFERED="1")
    wait_until(lambda: project.server is not None, "server.json appears")
    path = project.root / ".servo" / "server.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server = project.server
    assert server is not None
    assert server["pid"] == dev.pid

    second = project.run("dev")
    assert second.code == 78, second
    assert str(dev.pid) in second.err

    assert dev.stdout is not None
    while "Watching" not in dev.stdout.readline():
        pass
    run = project.ok("run", "*", "--json").json
    assert run["state"] == "RUN_STATE_SUCCEEDED"
    assert project.server == server

    project.write("assets/b.py", "def broken(:\n")
    while "Changed: assets/b.py" not in dev.stdout.readline():
        pass
    assert dev.stderr is not None
    while "the last good manifest stays in use" not in dev.stderr.readline():
        pass
    project.write("assets/b.py", ONE.replace("def orders", "def customers"))
    while "+ raw.customers" not in dev.stdout.readline():
        pass
    assert "raw.customers" in project.ok("asset", "list").out
    project.ok("run", "raw.customers")

    dev.send_signal(signal.SIGINT)
    done = project.finish(dev)
    assert done.code == 0, done
    assert project.server is None


def test_dev_takes_over_when_the_background_host_has_finished(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    background = project.start("status", "--watch", "--limit", "1")
    wait_until(lambda: project.server is not None, "the background host serves")
    server = project.server
    assert server is not None
    dev = project.start("dev", PYTHONUNBUFFERED="1")
    assert dev.stdout is not None
    assert f"pid {server['pid']}" in dev.stdout.readline()
    background.send_signal(signal.SIGINT)
    project.finish(background)
    wait_until(lambda: (project.server or {}).get("pid") == dev.pid, "servo dev becomes the host")
    dev.terminate()
    assert project.finish(dev).code == 0


def test_the_worker_ends_with_its_host(project: ServoProject) -> None:
    project.write(
        "assets/a.py",
        "import os, pathlib, time\nfrom servo import asset\n\n\n"
        "@asset(namespace='raw')\ndef slow(ctx):\n"
        "    pathlib.Path('pids').write_text(f'{os.getppid()} {os.getpid()}')\n"
        "    time.sleep(60)\n",
    )
    project.ok("run", "raw.slow", "--no-wait")
    wait_until((project.root / "pids").exists, "the task starts")
    wait_until(lambda: len((project.root / "pids").read_text().split()) == 2, "its pids")
    server = project.server
    assert server is not None
    pids = [int(text) for text in (project.root / "pids").read_text().split()]
    os.kill(server["pid"], signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "worker and runner end")


def complete(project: ServoProject, words: str) -> list[str]:
    """Return what a shell offers for the last word."""
    count = str(words.count(" "))
    done = project.run(_SERVO_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    return [line.partition(",")[2] for line in done.out.split()]


def test_a_shell_completes_commands_options_and_asset_keys(project: ServoProject) -> None:
    project.write("assets/a.py", ONE)
    assert complete(project, "servo st") == ["status"]
    assert complete(project, "servo run --dow") == ["--downstream"]
    assert complete(project, "servo run raw") == []
    project.ok("deploy", "--no-verify")
    assert complete(project, "servo run raw") == ["raw.orders"]
    assert complete(project, "servo asset show r") == ["raw.orders"]
    assert complete(project, "servo asset show x") == []
    project.write(".servo/state.json", "{")
    assert complete(project, "servo run raw") == []
