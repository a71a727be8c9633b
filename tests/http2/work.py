"""Work that is counted, where a clock would tell as much about the machine that the tests run on."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["calls_of"]


def calls_of(call: Callable[[], object]) -> int:
    """How many functions, of Python and of C, *call* calls."""
    count = 0

    def seen(_frame: object, event: str, _what: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count
