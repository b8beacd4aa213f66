"""What plans and attempts read is what was made last, whoever reads and forgets meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.controlplane.materialized import Current, Hold, MaterializedAssets
from servo.controlplane.store.stored import CurrentMaterialization
from servo.types import AssetKey, PartitionKey
from servo.types.records import Materialization

ASSETS = ("A", "B", "C")
WHOLE = PartitionKey()


def made(asset_id: str, number: int) -> Materialization:
    return Materialization(
        materialization_id=str(number),
        asset_key=AssetKey("raw", asset_id.lower()),
        asset_id=asset_id,
        partition_key=WHOLE,
    )


def current(found: Mapping[PartitionKey, CurrentMaterialization]) -> str | None:
    return found[WHOLE].materialization_id if found else None


class Around:
    """A disk, commits under way, and reads that answer when they are told to."""

    def __init__(self) -> None:
        self.disk: dict[str, str] = {}
        self.open: list[Materialization] = []
        self.written: list[Materialization] = []
        self.latest: dict[str, str] = {}
        self.reads: list[tuple[dict[str, Current], asyncio.Event]] = []
        self.materialized = MaterializedAssets(self.read)
        self.holds: list[Hold] = []
        self.asking: list[asyncio.Task[Hold]] = []

    async def read(self, asset_ids: Sequence[str]) -> Mapping[str, Current]:
        found = {
            one: {WHOLE: CurrentMaterialization(self.disk[one], True, "")}
            if one in self.disk
            else {}
            for one in asset_ids
        }
        answered = asyncio.Event()
        self.reads.append((found, answered))
        await answered.wait()
        return found

    def make(self, asset_id: str, number: int) -> None:
        self.open.append(made(asset_id, number))
        self.latest[asset_id] = str(number)
        self.materialized.add(self.open[-1])

    def write(self) -> None:
        """The disk has it before anybody in memory is told."""
        self.disk.update({one.asset_id: one.materialization_id for one in self.open})
        self.written += self.open
        self.open = []

    def tell(self) -> None:
        for one in self.written:
            self.materialized.is_durable(one)
        self.written.clear()

    def answer(self) -> None:
        if self.reads:
            self.reads.pop(0)[1].set()

    def ask(self, asset_ids: frozenset[str]) -> None:
        self.asking.append(asyncio.create_task(self.materialized.know(asset_ids)))

    def look(self) -> None:
        for task in [task for task in self.asking if task.done()]:
            self.asking.remove(task)
            self.holds.append(task.result())
        for hold in self.holds:
            for asset_id in hold.asset_ids:
                assert current(self.materialized.of(asset_id)) == self.latest.get(asset_id)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.sampled_from(ASSETS)),
        st.tuples(st.just("ask"), st.frozensets(st.sampled_from(ASSETS), min_size=1)),
        st.tuples(st.sampled_from(["write", "tell", "answer", "release", "turn"]), st.none()),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_whoever_holds_an_asset_sees_what_was_made_last(
    steps: list[tuple[str, str | frozenset[str] | None]],
) -> None:
    async def live() -> None:
        around = Around()
        for number, (what, which) in enumerate(steps):
            if what == "make":
                around.make(str(which), number)
            elif what == "ask":
                assert isinstance(which, frozenset)
                around.ask(which)
            elif what == "write":
                around.write()
            elif what == "tell":
                around.tell()
            elif what == "answer":
                around.answer()
            elif what == "release" and around.holds:
                around.materialized.release(around.holds.pop())
            for _ in range(3):
                await asyncio.sleep(0)
            around.look()
        while around.asking:
            around.answer()
            await asyncio.sleep(0)
            around.look()
        for hold in around.holds:
            around.materialized.release(hold)
        around.write()
        around.tell()
        assert not any(around.materialized.of(one) for one in ASSETS)
        # Nothing is left that nobody needs.
        kept = [vars(around.materialized)[name] for name in ("_known", "_added", "_not_durable")]
        assert kept == [{}, {}, {}]

    asyncio.run(live())


def test_a_hold_from_before_the_state_was_read_again_takes_nothing_away() -> None:
    async def live() -> None:
        around = Around()
        around.make("A", 1)
        around.write()
        around.tell()

        async def hold() -> Hold:
            around.ask(frozenset("A"))
            await asyncio.sleep(0)
            around.answer()
            return await around.asking.pop()

        before = await hold()
        around.materialized.forget()
        assert not around.materialized.is_valid(before)
        after = await hold()
        around.materialized.release(before)
        assert current(around.materialized.of("A")) == "1"
        around.materialized.release(after)
        assert current(around.materialized.of("A")) is None

    asyncio.run(live())


def test_what_was_read_of_a_state_that_is_read_again_is_not_kept() -> None:
    async def live() -> None:
        around = Around()
        around.make("A", 1)
        around.write()
        around.ask(frozenset("A"))
        await asyncio.sleep(0)
        around.materialized.forget()
        around.answer()
        assert not around.materialized.is_valid(await around.asking.pop())
        assert current(around.materialized.of("A")) is None

    asyncio.run(live())


@pytest.mark.parametrize("is_read_again", [False, True])
def test_who_goes_away_while_it_reads_holds_nothing(is_read_again: bool) -> None:
    async def live() -> None:
        around = Around()
        around.ask(frozenset("AB"))
        await asyncio.sleep(0)
        if is_read_again:
            around.materialized.forget()
        asking = around.asking.pop()
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert not any(
            vars(around.materialized)[name] for name in ("_known", "_added", "_holders", "_readers")
        )

    asyncio.run(live())


def test_many_assets_are_read_in_pieces_and_each_once() -> None:
    async def live() -> None:
        asked: list[int] = []

        async def read(asset_ids: Sequence[str]) -> Mapping[str, Current]:
            asked.append(len(asset_ids))
            return {}

        materialized = MaterializedAssets(read)
        first = await materialized.know(map(str, range(600)))
        await materialized.know(map(str, range(300)))
        assert asked == [256, 256, 88]
        materialized.release(first)
        await materialized.know(map(str, range(301)))
        assert asked == [256, 256, 88, 1]

    asyncio.run(live())
