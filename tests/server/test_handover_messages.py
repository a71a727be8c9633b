from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.server import MAX_DESCRIPTORS, Frame, FrameKind, FrameReader, encode_frame, socket_frames


@given(st.lists(st.text(min_size=1, max_size=30), max_size=500), st.integers(1, 4000))
def test_any_number_of_sockets_however_the_stream_is_cut(names, size):
    frames = list(socket_frames(names))
    raw = b"".join(frame for frame, _, _ in frames)
    reader = FrameReader()
    read = [frame for at in range(0, len(raw), size) for frame in reader.receive_data(raw[at : at + size])]

    assert [name for frame in read for name in frame.content["names"]] == names
    assert [frame.content["left"] for frame in read] == list(range(len(frames) - 1, -1, -1))
    assert all(end - start <= MAX_DESCRIPTORS for _, start, end in frames)


def test_an_acknowledgement():
    assert FrameReader().receive_data(encode_frame(FrameKind.ACKNOWLEDGED)) == [Frame(FrameKind.ACKNOWLEDGED, {})]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak the hand-over"),
        (struct.pack("!4sBBI", b"SPHO", 2, 1, 0), "hands over in version 2, this one in 1"),
        (struct.pack("!4sBBI", b"SPHO", 1, 1, 2**31), "where 262,144 are the most"),
        (struct.pack("!4sBBI", b"SPHO", 1, 1, 3) + b"{x}", "cannot be read"),
        (struct.pack("!4sBBI", b"SPHO", 1, 9, 2) + b"{}", "cannot be read"),
        (struct.pack("!4sBBI", b"SPHO", 1, 1, 2) + b"{}", "without the content of its kind"),
        (struct.pack("!4sBBI", b"SPHO", 1, 2, 2) + b"[]", "without the content of its kind"),
    ],
)
def test_what_is_no_hand_over(raw, text):
    with pytest.raises(ValueError, match=text):
        FrameReader().receive_data(raw)
