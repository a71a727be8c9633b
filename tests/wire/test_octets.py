"""What stands for bytes."""

import pytest

from sansio_pingora.wire import octets


@pytest.mark.parametrize("data", [b"ab", bytearray(b"ab"), memoryview(b"ab")])
def test_bytes_of_any_kind(data):
    made = octets(data, "it")
    assert type(made) is bytes
    assert made == b"ab"


@pytest.mark.parametrize("data", [5, "ab", [97, 98], None, True])
def test_what_bytes_would_make_something_of(data):
    with pytest.raises(TypeError, match="it is bytes or str, not "):
        octets(data, "it")
