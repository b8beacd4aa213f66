from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.worker.frames import MAX_FRAME_BYTES, FrameParser, pack


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_payloads_survive_any_cutting_of_the_stream(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(pack, payloads))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    parser = FrameParser()
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[start:end])
    assert found == payloads


def test_an_impossible_length_is_a_damaged_channel() -> None:
    with pytest.raises(ValueError, match="damaged"):
        list(FrameParser().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))
