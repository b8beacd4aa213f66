from __future__ import annotations

from servo.types.logs import LogBatch, LogLine, LogStream
from servo.worker.log_buffer import BATCH_BYTES, LogBuffer

MAX_BYTES = 24 * 1024 * 1024


def line(number: int, text: str = "x") -> LogLine:
    return LogLine(number=number, stream=LogStream.STDOUT, text=text)


class Recorder:
    def __init__(self) -> None:
        self.sent: list[LogBatch] = []
        self.announced = 0
        self.buffer = LogBuffer(self.sent.append, self.announce, max_bytes=MAX_BYTES)

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
    again = recorder.buffer.resend()
    assert [each.lines[0].number for each in again] == [2, 3]
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
    recorder.buffer.confirm(MAX_BYTES // BATCH_BYTES)
    assert batch.has_room(LogStream.STDOUT)
