"""What memory something holds, counted by the allocator."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["counting", "cut"]


def cut(data: bytes, size: int) -> list[bytes]:
    """*data* in pieces of *size* bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """A function that says how many bytes more are held than at the beginning of the block."""
    gc.collect()
    tracemalloc.start()
    begun = tracemalloc.get_traced_memory()[0]

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - begun

    try:
        yield held
    finally:
        tracemalloc.stop()
