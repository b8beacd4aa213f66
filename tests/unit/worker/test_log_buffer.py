from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servo.types.logs import LogBatch, LogLine, LogStream
from servo.worker.log_buffer import BATCH_BYTES, WINDOW_BYTES, LogBuffer

MAX_BYTES = 24 * 1024 * 1024
ATTEMPT_BYTES = 2 * MAX_BYTES


def line(number: int, text: str = "x") -> LogLine:
    return LogLine(number=number, stream=LogStream.STDOUT, text=text)


class Recorder:
    def __init__(self) -> None:
        self.sent: list[LogBatch] = []
        self.announced = 0
        self.buffer = LogBuffer(
            self.sent.append, self.announce, max_bytes=MAX_BYTES, attempt_bytes=ATTEMPT_BYTES
        )
        self.buffer.connect()

    def announce(self) -> None:
        self.announced += 1

    def numbers(self) -> list[list[int]]:
        return [[line.number for line in batch.lines] for batch in self.sent]


def test_lines_wait_for_the_flush_which_is_asked_for_once() -> None:
    recorder = Recorder()
    batch = recorder.buffer.open("t1", 1)
    batch.add([line(1)], 1)
    batch.add([line(2)], 1)
    assert (recorder.sent, recorder.announced) == ([], 1)
    recorder.buffer.flush()
    assert recorder.numbers() == [[1, 2]]
    batch.add([line(3)], 1)
    assert recorder.announced == 2


def test_a_full_batch_is_sent_at_once() -> None:
    recorder = Recorder()
    recorder.buffer.open("t1", 1).add([line(1)], BATCH_BYTES)
    assert recorder.numbers() == [[1]]


def test_attempts_do_not_share_batches() -> None:
    recorder = Recorder()
    recorder.buffer.open("t1", 1).add([line(1)], 1)
    recorder.buffer.open("t1", 2).add([line(1)], 1)
    recorder.buffer.flush()
    assert [(batch.task_id, batch.attempt) for batch in recorder.sent] == [("t1", 1), ("t1", 2)]


def test_closing_an_attempt_sends_its_last_lines() -> None:
    recorder = Recorder()
    batch = recorder.buffer.open("t1", 1)
    batch.add([line(1)], 1)
    recorder.buffer.close(batch)
    assert recorder.numbers() == [[1]]


def test_confirmed_batches_are_forgotten_and_the_others_sent_again() -> None:
    recorder = Recorder()
    batch = recorder.buffer.open("t1", 1)
    for number in (1, 2, 3):
        batch.add([line(number)], 1)
        batch.flush()
    recorder.buffer.confirm(1)
    recorder.buffer.disconnect()
    recorder.sent.clear()
    recorder.buffer.connect()
    assert recorder.numbers() == [[2], [3]]
    # A new session counts from the start.
    recorder.buffer.confirm(2)
    assert recorder.buffer.is_empty


def test_a_full_buffer_has_room_for_the_log_but_not_for_output() -> None:
    recorder = Recorder()
    batch = recorder.buffer.open("t1", 1)
    while batch.has_room(LogStream.STDOUT):
        batch.add([line(1)], BATCH_BYTES)
    assert batch.has_room(LogStream.LOG)
    while batch.has_room(LogStream.LOG):
        batch.add([line(1)], BATCH_BYTES)
    while not recorder.buffer.is_empty:
        recorder.buffer.confirm(len(recorder.sent))
    assert batch.has_room(LogStream.STDOUT)


def test_the_log_of_an_attempt_is_bounded_and_that_of_others_is_not_affected() -> None:
    recorder = Recorder()
    recorder.buffer.attempt_bytes = 10 * BATCH_BYTES
    batch, other = recorder.buffer.open("t1", 1), recorder.buffer.open("t2", 1)
    for _ in range(10):
        assert batch.has_room(LogStream.STDOUT)
        batch.add([line(1)], BATCH_BYTES)
        recorder.buffer.confirm(len(recorder.sent))
    assert batch.is_full
    assert not batch.has_room(LogStream.STDOUT)
    assert batch.has_room(LogStream.LOG), "a traceback must still fit"
    assert other.has_room(LogStream.STDOUT)


def test_lines_of_an_attempt_that_floods_do_not_delay_those_of_another() -> None:
    recorder = Recorder()
    flood, quiet = recorder.buffer.open("flood", 1), recorder.buffer.open("quiet", 1)
    for number in range(100):
        flood.add([line(number)], BATCH_BYTES)
    quiet.add([line(1)], 1)
    quiet.flush()
    assert not recorder.buffer.has_sent(("quiet", 1))
    before = len(recorder.sent)
    recorder.buffer.confirm(before)
    assert "quiet" in [batch.task_id for batch in recorder.sent[before:]]
    assert recorder.buffer.has_sent(("quiet", 1))
    assert not recorder.buffer.has_sent(("flood", 1))


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.integers(0, 2), st.sampled_from([1, BATCH_BYTES, WINDOW_BYTES])
        ),
        st.tuples(st.just("flush"), st.just(0), st.just(0)),
        st.tuples(st.just("confirm"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("reconnect"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_every_line_becomes_durable_once_and_in_order(
    steps: list[tuple[str, int, int]],
) -> None:
    """The control plane here makes durable what it confirms, and forgets the rest of a session."""
    durable: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    session: list[LogBatch] = []
    ended: list[tuple[str, int]] = []
    buffer = LogBuffer(session.append, lambda: None, max_bytes=2**60, attempt_bytes=2**60)
    buffer.sent = ended.append
    buffer.connect()
    batches = {name: buffer.open(name, 1) for name in durable}
    written = dict.fromkeys(durable, 0)
    confirmed = 0

    def confirm(count: int) -> None:
        nonlocal confirmed
        for batch in session[confirmed : confirmed + count]:
            durable[batch.task_id] += [each.number for each in batch.lines]
        confirmed = min(confirmed + count, len(session))
        buffer.confirm(confirmed)

    for kind, number, size in steps:
        if kind == "add":
            name = "abc"[number]
            written[name] += 1
            batches[name].add([line(written[name])], size)
        elif kind == "flush":
            buffer.flush()
        elif kind == "confirm":
            confirm(number)
        else:
            buffer.disconnect()
            session.clear()
            confirmed = 0
            buffer.connect()
        on_their_way = session[confirmed:]
        assert len(on_their_way) <= 1 + WINDOW_BYTES // 201, "more than the window holds"
        if any(not buffer.has_sent((name, 1)) for name in durable):
            assert on_their_way, "something waits and nothing is on its way"
    for batch in batches.values():
        buffer.close(batch)
    while confirmed < len(session):
        confirm(1)
    assert buffer.is_empty
    assert durable == {name: list(range(1, count + 1)) for name, count in written.items()}
    assert {key for key, _ in ended} == {name for name, count in written.items() if count}
