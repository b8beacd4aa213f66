from __future__ import annotations

import codecs

from hypothesis import given
from hypothesis import strategies as st

from servo.types.logs import LogLine, LogStream
from servo.worker.lines import MAX_LINE_BYTES, STATE_SECONDS, StreamLines


class Sink:
    """Takes as many lines as it is told."""

    def __init__(self, room: int = 10**9) -> None:
        self.lines: list[LogLine] = []
        self.room = room

    def has_room(self, stream: LogStream) -> bool:
        return self.room > 0

    def add(self, lines: list[LogLine], size: int) -> None:
        self.lines += lines
        self.room -= len(lines)


def split(*chunks: bytes, room: int = 10**9) -> list[LogLine]:
    sink = Sink(room)
    stream = StreamLines(LogStream.STDOUT, sink)
    for chunk in chunks:
        stream.feed(chunk)
    stream.close()
    return sink.lines


def texts(*chunks: bytes) -> list[str]:
    return [line.text for line in split(*chunks)]


PIECES = st.sampled_from(
    [
        b"\n", b"\r", b"\r\n", b"a", b"step 1", " \u20ac".encode(), "\u20ac".encode()[:2], b"\xff",
        b"y" * 9_000, b"\xff" * 9_000, b"z" * (MAX_LINE_BYTES - 1), "\u20ac".encode() * 20_000,
    ]
)  # fmt: skip


def shown(line: bytes) -> tuple[str, bool]:
    """What is kept of a line without its break, and whether it was cut; said differently."""
    raw = next((part for part in reversed(line.split(b"\r")) if part), b"")
    cut = len(raw) > MAX_LINE_BYTES
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw[:MAX_LINE_BYTES], final=not cut)
    if len(text.encode()) > MAX_LINE_BYTES:
        return text.encode()[:MAX_LINE_BYTES].decode("utf-8", "ignore"), True
    return text, cut


@given(st.lists(PIECES, max_size=20).map(b"".join), st.data())
def test_every_text_is_kept_that_nothing_overwrites_however_the_stream_is_cut(
    stream: bytes, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    *whole, last = stream.split(b"\n")
    expected = [shown(line) for line in [*whole, *([last] if last.strip(b"\r") else [])]]
    for found in (split(*chunks), split(stream)):
        assert [(line.text, line.truncated) for line in found] == expected
        assert [line.number for line in found] == list(range(1, len(expected) + 1))
        assert all(len(line.text.encode()) <= MAX_LINE_BYTES for line in found)


def test_of_text_that_is_overwritten_the_last_state_counts() -> None:
    bar = b"".join(b"\rstep %d/3000 |%s|" % (number, b"#" * 20) for number in range(3001))
    assert texts(bar + b"\n") == ["step 3000/3000 |" + "#" * 20 + "|"]
    assert texts(b"10%\r", b"20%\r", b"30%\r", b"\n", b"done\n") == ["30%", "done"]


def test_a_state_that_is_too_long_is_cut_and_the_next_one_is_not() -> None:
    (line,) = split(b"x" * MAX_LINE_BYTES, b"yyy", b"\rshort\n")
    assert (line.text, line.truncated) == ("short", False)


def moving(states: list[bytes], seconds: float) -> list[str]:
    """The lines of states that overwrite each other, one every so many seconds."""
    now = [0.0]
    sink = Sink()
    stream = StreamLines(LogStream.STDERR, sink, lambda: now[0])
    for state in states:
        stream.feed(state)
        now[0] += seconds
    stream.close()
    return [line.text for line in sink.lines]


def test_a_state_is_shown_now_and_then_while_it_is_overwritten() -> None:
    found = moving([b"\rstep %d" % number for number in range(61)], seconds=1)
    assert found[-1] == "step 60"
    assert len(found) == 1 + 60 // int(STATE_SECONDS)
    assert found == sorted(found, key=lambda text: int(text.removeprefix("step ")))


def test_a_bar_that_takes_a_moment_is_one_line() -> None:
    assert moving([b"\rstep %d" % number for number in range(100)], seconds=0.01) == ["step 99"]


def test_what_wipes_a_bar_away_is_not_shown_as_a_state() -> None:
    states = [b"bar", b"\r   ", b"\r", b"done"]
    assert moving(states, seconds=STATE_SECONDS) == ["done"]


def test_a_bar_after_a_long_silence_is_not_shown_at_once() -> None:
    states = [b"begin\n", *[b"\rstep %d" % number for number in range(3)]]
    assert moving(states, seconds=2) == ["begin", "step 2"]


def test_a_last_line_without_a_break_counts() -> None:
    assert texts(b"a\nb") == ["a", "b"]


def test_windows_line_ends_are_removed() -> None:
    assert texts(b"a\r\nb\r\nc\r\n") == ["a", "b", "c"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert texts(b"\xff\xfeok\n", b"x\n\xff\n") == ["\ufffd\ufffdok", "x", "\ufffd"]


def test_a_long_line_is_cut_and_marked_in_one_piece_or_many() -> None:
    whole = split(b"x\n" + b"y" * (MAX_LINE_BYTES + 10) + b"\nz\n")
    pieces = split(b"x\n", *[b"y" * 1000] * 50, b"\nz\n")
    for found in (whole, pieces):
        assert [line.text[:1] for line in found] == ["x", "y", "z"]
        assert [line.truncated for line in found] == [False, True, False]
        assert len(found[1].text) == MAX_LINE_BYTES


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    (line,) = split(b"y" * MAX_LINE_BYTES + b"\n")
    assert (len(line.text), line.truncated) == (MAX_LINE_BYTES, False)


def test_a_long_line_is_cut_between_characters() -> None:
    lines = split(b"a\n" + "\u20ac".encode() * MAX_LINE_BYTES + b"\nz\n")
    assert lines[1].truncated
    assert set(lines[1].text) == {"\u20ac"}


@given(st.integers(0, 50), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_lines_that_are_kept_and_dropped_add_up(room: int, sizes: list[int]) -> None:
    total = sum(sizes)
    found = split(*[b"line\n" * size for size in sizes], room=room)
    assert sum(1 + line.dropped_after for line in found) == total
    expected = 1
    for line in found:
        assert line.number == expected
        expected += 1 + line.dropped_after


def test_lines_are_kept_again_when_there_is_room_again() -> None:
    sink = Sink(room=2)
    stream = StreamLines(LogStream.STDOUT, sink)
    stream.feed(b"1\n2\n3\n4\n5\n")
    stream.feed(b"6\n7\n")
    sink.room = 100
    stream.feed(b"8\n9\n")
    stream.close()
    assert [(line.text, line.dropped_after) for line in sink.lines][-3:] == [
        ("6", 1), ("8", 0), ("9", 0),
    ]  # fmt: skip


def test_lines_that_the_writer_dropped_are_a_gap_after_its_note() -> None:
    sink = Sink()
    stream = StreamLines(LogStream.LOG, sink)
    stream.line("a", level="INFO")
    stream.line("3 dropped", level="WARNING", dropped_after=3)
    stream.line("b", level="INFO")
    assert [(line.number, line.dropped_after) for line in sink.lines] == [(1, 0), (2, 3), (6, 0)]


def test_a_line_of_the_log_is_there_at_once() -> None:
    sink = Sink()
    StreamLines(LogStream.LOG, sink).line("a", level="INFO")
    assert [line.text for line in sink.lines] == ["a"]
