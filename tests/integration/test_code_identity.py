"""A worker executes the code that was deployed, and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from scripted_plane import dispatch_of
from servo.manifest.module_facts import read_facts
from servo.manifest.project_code import ProjectCode
from servo.types.ids import RunId
from servo.types.logs import LogStream
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    Lease,
    LeaseRevoked,
    TaskDispatch,
)
from worker_kit import Lab, check

CODE = """
import os
import time
from pathlib import Path

from helper import VALUE
from servo import asset

print("imported")


@asset
def says(ctx):
    print(f"VALUE={VALUE} BODY=one pid={os.getpid()}")


@asset
def waits(ctx):
    print("waiting")
    while not Path("go").exists():
        time.sleep(0.01)
    import late
    print(f"LATE={late.LATE} pid={os.getpid()}")


@asset
def other(ctx):
    print(f"OTHER pid={os.getpid()}")
"""
OLD, NEW = "BODY=one", "BODY=two"
RUN = RunId.generate()


def deployed(lab: Lab, name: str, *, run_id: str = "", module: str = "tables") -> TaskDispatch:
    """Return an attempt of an asset as it would be deployed from the files as they are now."""
    code = ProjectCode([lab.project])
    found = dispatch_of(module, name)
    facts = read_facts((lab.project / f"{module}.py").read_bytes())
    transform = {place[1]: digest for place, (digest, _) in facts.functions.items()}
    asset = dataclasses.replace(
        found.asset,
        code=dataclasses.replace(found.asset.code, fingerprint=code.fingerprint(module, name)),
        transform_fingerprint=transform.get(name, ""),
    )
    return replace(found, asset=asset, run_id=run_id or RunId.generate())


def edit(lab: Lab, old: str = OLD, new: str = NEW, *, path: str = "tables.py") -> None:
    """Change a file so that neither its size nor, to the second, its time tells."""
    file = lab.project / path
    before = file.stat()
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


async def said(lab: Lab, dispatch: TaskDispatch) -> str:
    """Run an attempt, which has to succeed, and return what it printed."""
    lease = lab.plane.dispatch(dispatch)
    finished = await lab.plane.result(lease)
    assert isinstance(finished.outcome, AttemptSucceeded), finished
    return printed(lab, lease)


def printed(lab: Lab, lease: Lease) -> str:
    return lab.plane.text(lease, LogStream.STDOUT)


async def failed(lab: Lab, dispatch: TaskDispatch) -> Failure:
    finished = await lab.plane.result(lab.plane.dispatch(dispatch))
    assert isinstance(finished.outcome, Failure), finished
    return finished.outcome


def in_lab(tmp_path: Path, test: Callable[[Lab], Awaitable[None]], **settings: Any) -> None:
    (tmp_path / "helper.py").write_text("from deeper import VALUE\n")
    (tmp_path / "deeper.py").write_text("VALUE = 1\n")
    (tmp_path / "late.py").write_text("LATE = 1\n")
    check(tmp_path, CODE, test, **settings)


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("tables.py", OLD, NEW, "VALUE=1 BODY=two"),
        ("helper.py", "import VALUE", "import VALUE  # same", "VALUE=1 BODY=one"),
        ("helper.py", "from deeper import VALUE\n", "VALUE = '23456789 0123456'", "VALUE=2"),
        ("deeper.py", "VALUE = 1", "VALUE = 2", "VALUE=2 BODY=one"),
    ],
)
def test_an_attempt_that_was_deployed_after_an_edit_gets_the_new_code(
    tmp_path: Path, path: str, old: str, new: str, expected: str
) -> None:
    async def test(lab: Lab) -> None:
        assert "VALUE=1 BODY=one" in await said(lab, deployed(lab, "says"))
        edit(lab, old, new, path=path)
        dispatch = deployed(lab, "says")
        lease = lab.plane.dispatch(dispatch)
        finished = await lab.plane.result(lease)
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert expected in printed(lab, lease)
        started = [m for m in lab.plane.of(AttemptStarted) if m.lease == lease]
        assert len(started) == 1, "a process is replaced within the attempt"
        assert lab.plane.text(lease) == "", "nothing of it is the attempt's"
        assert printed(lab, lease).count("BODY") == 1

    in_lab(tmp_path, test)


def test_an_edit_that_is_none_keeps_the_process(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        before = await said(lab, deployed(lab, "says"))
        with (lab.project / "deeper.py").open("a") as file:
            file.write("# a comment\n")
        after = await said(lab, deployed(lab, "says"))
        assert before.split()[-1] == after.split()[-1]
        # Another asset of the same file does not have its code either.
        edit(lab, "OTHER", "ANOTHER")
        assert (await said(lab, deployed(lab, "says"))).split()[-1] == before.split()[-1]

    in_lab(tmp_path, test)


def test_code_that_the_worker_does_not_have_is_not_executed_and_said(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        wanted = deployed(lab, "says")
        edit(lab)
        process = (await said(lab, deployed(lab, "other"))).split()[-1]
        here = deployed(lab, "says").asset.code.fingerprint
        for _ in range(2):
            lease = lab.plane.dispatch(replace(wanted, lease=dispatch_of("tables", "says").lease))
            finished = await lab.plane.result(lease)
            failure = finished.outcome
            assert isinstance(failure, Failure)
            assert failure.category is FailureCategory.CONFIGURATION
            assert failure.retryable is False
            assert failure.reason == "configuration"
            assert "the code is not what was deployed: default.says" in failure.message
            assert wanted.asset.code.fingerprint in failure.message
            assert here in failure.message
            assert "(deeper, helper, late, tables)" in failure.message
            assert "Deploy" in failure.message
            assert lab.plane.text(lease) == failure.message
            assert "BODY" not in printed(lab, lease)
        # A new process would not have it either, so none is started.
        assert (await said(lab, deployed(lab, "other"))).split()[-1] == process

    in_lab(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("says", lambda root: (root / "tables.py").unlink(), "the project lacks here"),
        (
            "says",
            lambda root: (root / "tables.py").write_text(CODE.replace("def says", "def says_more")),
            "has no asset function 'says' here",
        ),
        (
            "says",
            lambda root: (root / "deeper.py").unlink(),
            "the code is not what was deployed",
        ),
    ],
    ids=["module gone", "function renamed", "helper gone"],
)
def test_code_that_is_gone_is_said(
    tmp_path: Path, name: str, change: Callable[[Path], object], expected: str
) -> None:
    async def test(lab: Lab) -> None:
        wanted = deployed(lab, name)
        change(lab.project)
        failure = await failed(lab, wanted)
        assert failure.category is FailureCategory.CONFIGURATION
        assert failure.retryable is False
        assert expected in failure.message

    in_lab(tmp_path, test)


def test_a_function_that_was_added_is_found(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        await said(lab, deployed(lab, "says"))
        (lab.project / "tables.py").write_text(
            CODE + "\n@asset\ndef added(ctx):\n    print('ADDED')\n"
        )
        assert "ADDED" in await said(lab, deployed(lab, "added"))
        (lab.project / "fresh.py").write_text(
            "from servo import asset\n\n@asset\ndef new(ctx):\n    print('FRESH')\n"
        )
        assert "FRESH" in await said(lab, deployed(lab, "new", module="fresh"))

    in_lab(tmp_path, test)


def test_what_is_imported_late_is_what_was_deployed(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        lease = lab.plane.dispatch(deployed(lab, "waits"))
        await lab.says(lease, "waiting")
        edit(lab, "LATE = 1", "LATE = 2", path="late.py")
        (lab.project / "go").touch()
        await lab.plane.result(lease)
        assert "LATE=1" in printed(lab, lease)
        assert "LATE=2" in await said(lab, deployed(lab, "waits"))

    in_lab(tmp_path, test)


def test_a_run_that_goes_on_keeps_its_code_where_a_process_has_it(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        old = deployed(lab, "says", run_id=RUN)
        await said(lab, old)
        busy = lab.plane.dispatch(deployed(lab, "waits", run_id=RUN))
        await lab.says(busy, "waiting")
        edit(lab)
        # The other process gets the new code, so it refuses what the run still wants of it.
        assert NEW in await said(lab, deployed(lab, "says"))
        again = lab.plane.dispatch(replace(old, lease=dispatch_of("tables", "says").lease))
        lost = lab.plane.dispatch(replace(old, lease=dispatch_of("tables", "says").lease))
        withdrawn = lab.plane.dispatch(replace(old, lease=dispatch_of("tables", "says").lease))
        await asyncio.sleep(0.5)
        assert not [m for m in lab.plane.of(AttemptFinished) if m.lease == again], "it waits"
        lab.plane.say(CancelTask(lease=lost, reason="not needed"))
        finished = await lab.plane.result(lost)
        assert isinstance(finished.outcome, AttemptCancelled)
        assert "not needed" in finished.outcome.reason
        lab.plane.say(LeaseRevoked(lease=withdrawn))
        (lab.project / "go").touch()
        assert isinstance((await lab.plane.result(busy)).outcome, AttemptSucceeded)
        outcome = (await lab.plane.result(again)).outcome
        assert isinstance(outcome, AttemptSucceeded), outcome
        assert OLD in printed(lab, again)
        assert not [m for m in lab.plane.of(AttemptFinished) if m.lease == withdrawn]

    in_lab(tmp_path, test, slots=2)


def test_a_process_that_waits_is_told_of_what_another_one_has_refused(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        old = deployed(lab, "says", run_id=RUN)
        first = await said(lab, old)
        busy = lab.plane.dispatch(deployed(lab, "waits", run_id=RUN))
        await lab.says(busy, "waiting")
        edit(lab)
        (await said(lab, deployed(lab, "says")))
        (lab.project / "go").touch()
        await lab.plane.result(busy)
        for _ in range(4):
            # Whichever of the two takes it.
            again = replace(old, lease=dispatch_of("tables", "says").lease)
            assert (await said(lab, again)).splitlines()[-1] == first.splitlines()[-1]

    in_lab(tmp_path, test, slots=2)


def test_a_worker_that_is_killed_reports_what_waits_for_a_process(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        old = deployed(lab, "says", run_id=RUN)
        await said(lab, old)
        busy = lab.plane.dispatch(deployed(lab, "waits", run_id=RUN))
        await lab.says(busy, "waiting")
        edit(lab)
        await said(lab, deployed(lab, "says"))
        waiting = lab.plane.dispatch(replace(old, lease=dispatch_of("tables", "says").lease))
        await lab.plane.wait_for(
            lambda: [m for m in lab.plane.of(AttemptStarted) if m.lease == waiting]
        )
        await asyncio.sleep(0.5)
        lab.worker.kill()
        outcome = (await lab.plane.result(waiting)).outcome
        assert isinstance(outcome, Failure)
        assert outcome.reason == "evicted"

    in_lab(tmp_path, test, slots=2)


def test_a_run_whose_code_no_process_has_says_so(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        old = deployed(lab, "says", run_id=RUN)
        await said(lab, old)
        edit(lab)
        assert NEW in await said(lab, deployed(lab, "says"))
        failure = await failed(lab, replace(old, lease=dispatch_of("tables", "says").lease))
        assert "the code is not what was deployed" in failure.message

    in_lab(tmp_path, test)


def test_a_reload_leaves_a_run_its_processes_and_gives_others_new_ones(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        first = await said(lab, deployed(lab, "says", run_id=RUN))
        lab.worker.reload()
        assert await said(lab, deployed(lab, "says", run_id=RUN)) == first.partition("\n")[2]
        process = (await said(lab, deployed(lab, "other"))).split()[-1]
        assert process != first.split()[-1]
        # With nothing to do for a while, processes are replaced before anything asks for them.
        lab.worker.reload()
        await asyncio.sleep(3)
        assert (await said(lab, deployed(lab, "other"))).split()[-1] != process

    in_lab(tmp_path, test)


def test_without_fingerprints_nothing_is_compared(tmp_path: Path) -> None:
    async def test(lab: Lab) -> None:
        assert OLD in await said(lab, dispatch_of("tables", "says"))
        edit(lab)
        assert OLD in await said(lab, dispatch_of("tables", "says")), "as an older version did it"
        (lab.project / "tables.py").write_text("def (\n")
        assert "other" not in await said(lab, dispatch_of("tables", "other"))

    in_lab(tmp_path, test)


def test_an_older_manifest_is_compared_by_what_it_has(tmp_path: Path) -> None:
    def without_code(dispatch: TaskDispatch) -> TaskDispatch:
        code = dataclasses.replace(dispatch.asset.code, fingerprint="")
        return replace(dispatch, asset=dataclasses.replace(dispatch.asset, code=code))

    async def test(lab: Lab) -> None:
        old = without_code(deployed(lab, "says"))
        assert OLD in await said(lab, old)
        edit(lab)
        assert NEW in await said(lab, without_code(deployed(lab, "says")))
        failure = await failed(lab, replace(old, lease=dispatch_of("tables", "says").lease))
        assert "the code is not what was deployed" in failure.message
        assert old.asset.transform_fingerprint in failure.message

    in_lab(tmp_path, test)


def test_what_a_library_puts_around_a_function_is_not_compared(tmp_path: Path) -> None:
    # Another version of the library would give the function another fingerprint.
    code = """
import functools
from servo import asset

def around(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner

@asset
@around
def wrapped(ctx):
    print("CALLED")
"""

    async def test(lab: Lab) -> None:
        for with_code in (True, False):
            dispatch = deployed(lab, "wrapped")
            fingerprint = dispatch.asset.code.fingerprint if with_code else ""
            asset = dataclasses.replace(
                dispatch.asset,
                code=dataclasses.replace(dispatch.asset.code, fingerprint=fingerprint),
                transform_fingerprint="0123456789abcdef",
            )
            assert "CALLED" in await said(lab, replace(dispatch, asset=asset))

    check(tmp_path, code, test)


def test_a_module_that_could_not_be_imported_is_tried_again_once_it_was_mended(
    tmp_path: Path,
) -> None:
    async def test(lab: Lab) -> None:
        edit(lab, "import VALUE", "import WRONG", path="helper.py")
        for dispatch in (deployed(lab, "says"), dispatch_of("tables", "says")):
            lease = lab.plane.dispatch(dispatch)
            outcome = (await lab.plane.result(lease)).outcome
            assert isinstance(outcome, Failure)
            assert "cannot be imported" in outcome.message
            assert "cannot import name" in lab.plane.text(lease), "with its traceback"
        edit(lab, "import WRONG", "import VALUE", path="helper.py")
        assert OLD in await said(lab, dispatch_of("tables", "says"))
        assert OLD in await said(lab, deployed(lab, "says"))

    in_lab(tmp_path, test)


def test_an_error_of_user_code_is_never_taken_for_a_refusal(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from servo import asset
from servo.worker.code_guard import CodeRefusedError

@asset
def pretends(ctx):
    with Path("calls").open("a") as file:
        file.write("x")
    raise CodeRefusedError("mine", code="CODE_MISMATCH", hint="", fresh_helps=True)
"""

    async def test(lab: Lab) -> None:
        failure = await failed(lab, deployed(lab, "pretends"))
        assert failure.message == "mine"
        assert (lab.project / "calls").read_text() == "x"

    check(tmp_path, code, test)
