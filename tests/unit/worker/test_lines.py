from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servo.types.logs import LogLine, LogStream
from servo.worker.lines import MAX_LINE_BYTES, StreamLines


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


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))), st.data())
def test_lines_are_the_same_however_the_stream_is_cut(
    lines: list[str], data: st.DataObject
) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    found = split(*chunks)
    assert [line.text for line in found] == lines
    assert [line.number for line in found] == list(range(1, len(lines) + 1))


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
