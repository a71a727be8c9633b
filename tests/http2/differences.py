"""What the reference engine does otherwise than the native one, with the reason: in tests, and on the same bytes."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """How the engines part, as patterns for :func:`tests.http2.differential.described`."""

    native: str
    reference: str


READ_OTHERWISE: dict[Row, str] = {}
