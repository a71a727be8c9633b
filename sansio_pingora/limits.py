"""Every ceiling and time-out of a service in one table: the same names in ``serve()``, with ``-o`` and in YAML.

Sizes are bytes, times are seconds, rates are per second; None switches a limit off where that is allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args, get_type_hints

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a service tolerates from its peers, and how much it holds for them."""

    first_byte_timeout: float = 10.0
    """Until the first byte of a new connection, then it is closed without a word."""
    head_timeout: float = 10.0
    """For a whole head, from its first byte, however often bytes arrive; then 408 (slowloris)."""
    keepalive_timeout: float = 60.0
    """Between two requests of one connection."""
    body_idle_timeout: float = 30.0
    """Between two pieces of a request body, while we read; then 408."""
    min_body_rate: float | None = 500.0
    """Least mean rate of a request body after its first 10 s (R-U-Dead-Yet)."""
    write_idle_timeout: float = 30.0
    """Without progress of a peer that has output waiting (slow read)."""
    min_send_rate: float | None = None
    """Least rate at which a peer takes output; replaces write_idle_timeout when set."""
    linger_timeout: float = 1.0
    """For reading on once an answer is complete: what its client still sends, and of an answer that filters made
    shorter what the origin does."""
    linger_bytes: int = 65_536
    """How much of it is read and thrown away; an origin with more to send is cut off at once."""

    max_head: int = 65_536
    """A whole head; past it 431. hyper and Envoy stop at 60 to 64 KiB as well."""
    max_fields: int = 128
    """Lines in a head; past it 431."""
    max_line: int = 16_384
    """One line of a head; past it 414 or 431."""
    max_trailers: int = 8_192
    """A whole trailer section."""
    max_trailer_fields: int = 32
    """Lines in a trailer section."""
    max_chunk_overhead: int = 16_384
    """What extensions and padded sizes of small chunks add up to in one body, each chunk's framing less 16 bytes and
    twice its size (CVE-2023-39326); past it 400. Plain chunks never count, however small.
    """
    max_body: int | None = None
    """A request body; past it 413."""
    max_buffered_body: int = 16_777_216
    """A request body that is collected in memory for a handler; past it 413."""
    high_water: int = 65_536
    """Bytes queued per direction before the sender is told to wait."""
    replay_buffer: int = 65_536
    """Request body kept for another attempt; a longer one cannot be retried once sent."""
    max_informational: int = 16
    """1xx heads before one response; past it 502."""
    max_informational_size: int = 65_536
    """Bytes of the fields in them, in all; past it 502."""
    keepalive_request_limit: int | None = None
    """Requests on one connection."""
    max_unlogged: int = 100
    """Exchanges of one connection that are over but for a `logging` that waits, or an origin that lingers; at that
    many, 1 or more, its next requests wait."""

    max_connections: int | None = None
    """Accepted connections open at once; more wait in the backlog."""
    accept_rate: float | None = None
    """Accepted connections per second."""
    handshake_timeout: float = 5.0
    """For all that comes before HTTP: a connection filter that waits, then a PROXY header and a TLS handshake. Of an
    upstream, for what follows the connect.
    """

    max_client_hello: int = 32_768
    """The first message of a TLS client; with post-quantum key shares it has about 2 KiB."""
    tls_context_cache_size: int = 64
    """TLS contexts kept, one for each certificate or set of a peer's options; 1 MiB with the system's authorities."""
    tls_session_cache_size: int = 1_024
    """TLS sessions with upstreams that may be resumed; 0 resumes none."""

    connection_timeout: float = 5.0
    """For one connect to an upstream."""
    total_connection_timeout: float = 10.0
    """For everything until an upstream connection is usable."""
    upstream_keepalive_pool_size: int = 128
    """Idle upstream connections kept, over all peers."""
    max_per_peer: int | None = None
    """Upstream connections to one peer, busy and idle."""
    pool_wait_timeout: float = 5.0
    """For a free connection, where max_per_peer holds a request back."""
    read_timeout: float = 60.0
    """Between two reads from an upstream that owes us something."""
    write_timeout: float = 60.0
    """Without progress of an upstream that has output waiting."""
    idle_timeout: float = 60.0
    """An unused upstream connection is kept this long."""
    alpn_cache_size: int = 1_024
    """Origins of which the HTTP version is remembered that TLS agreed on; the oldest goes first."""
    alpn_cache_timeout: float = 300.0
    """How long that is believed, and an origin that took HTTP/2 back spoken to in HTTP/1."""
    max_retries: int = 16
    """Attempts for one request, the first included."""
    max_expansion: float = 100.0
    """Decoded bytes for each coded one of a response that is decompressed here, past the first MiB (bombs)."""
    max_decoded_body: int | None = None
    """A response that is decompressed here, decoded; past it the response fails."""
    request_timeout: float | None = None
    """From a request's head to the head of its response, over all attempts and filters of a proxy; then 504."""
    retry_backoff: float = 0.0
    """Before a second attempt; each further one waits twice as long, less up to half by chance. 0: at once."""
    max_retry_backoff: float = 1.0
    """No attempt waits longer than that."""
    retry_budget: float | None = 0.2
    """Retries allowed as a share of the requests of the last 10 s; ten are always allowed."""

    h2_max_streams: int = 100
    """HTTP/2 streams of one client at once; RFC 9113 advises no fewer. One more is refused."""
    h2_window: int = 262_144
    """What a peer may send on one stream before what came is used up."""
    h2_connection_window: int = 1_048_576
    """What a peer may send on all streams of a connection before what came is used up."""
    h2_send_buffer: int = 262_144
    """Queued for all streams of a connection that its peer has no window for; then their senders wait."""
    h2_ping_interval: float | None = None
    """Between two PINGs to a client whose connection is quiet."""
    h2_ping_timeout: float = 5.0
    """For the answer to a PING of ours."""
    h2_settings_timeout: float = 10.0
    """For the acknowledgement of our SETTINGS."""
    h2_drain_timeout: float = 5.0
    """For a client to hear of the first GOAWAY, before the second one that names the last stream served."""
    h2_stall_timeout: float = 30.0
    """For a stream whose peer gives it no window while output waits; then it is reset (CVE-2019-9517)."""
    h2_connection_stall_timeout: float = 60.0
    """For a connection whose peer gives it no window while output waits; then it ends."""
    h2_reset_burst: int = 200
    """Streams given up young and unanswered, and resets that were the peer's fault, at once (CVE-2023-44487)."""
    h2_reset_rate: float = 33.0
    """How many of those are forgiven per second; nghttp2's figure."""
    h2_max_continuations: int = 8
    """CONTINUATION frames of one head, as nghttp2 has it (VU#421644)."""
    h2_settings_burst: int = 32
    """SETTINGS frames at once."""
    h2_settings_rate: float = 5.0
    """SETTINGS frames forgiven per second."""
    h2_ping_burst: int = 100
    """PING frames at once."""
    h2_ping_rate: float = 10.0
    """PING frames forgiven per second."""
    h2_max_control_queue: int = 1_000
    """Answers to control frames that wait for a peer that does not read; Envoy's figure."""
    h2_max_empty_frames: int = 100
    """Frames without a byte of content that end nothing, over a connection (CVE-2019-9518)."""
    h2_max_priority_frames: int = 100
    """PRIORITY frames, for each stream opened and once more; Envoy's figure."""
    h2_max_window_updates: int = 10
    """WINDOW_UPDATE frames for each DATA frame sent; two for each stream and five are free. Envoy's figure."""
    h2_max_unasked_acks: int = 1_000
    """Acknowledgements of SETTINGS and answers to PING that answer nothing of ours, over a connection."""
    h2_max_unknown_frames: int = 1_000
    """Frames of types that are not known here, over a connection."""

    ws_max_message: int = 1_048_576
    """A WebSocket message, put together and inflated; past it the connection is closed with 1009."""
    ws_max_fragments: int = 1_024
    """Frames of one message; past it 1009 as well."""
    ws_send_buffer: int = 1_048_576
    """What may wait for a peer that does not keep up, beside high_water; one more message closes with 1008."""
    ws_ping_interval: float | None = 20.0
    """Between two pings to a peer; one that has not answered the last when the next is due is gone."""
    ws_close_timeout: float = 10.0
    """For the peer's answer to a close frame."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            least = self.least(spec.name)
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value >= least):
                raise ValueError(f"{spec.name} must be a number of {least} or more, not {value!r}")

    @staticmethod
    def least(name: str) -> int:
        """The least value of the limit *name*, where that is not switched off."""
        return 1 if name == "max_unlogged" else 0  # with none, no request would ever be taken

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Limits:
        """Limits from names and values, the values perhaps as text (``-o key=value``).

        :raises ValueError: a name that does not exist, or is not in force, or a value of the wrong kind.
        """
        kinds = get_type_hints(cls)
        known: dict[str, Any] = {}
        for name, value in options.items():
            if name not in kinds:
                raise ValueError(_unknown(name, list(kinds)))
            known[name] = _parse(name, value, kinds[name])
        return cls(**known)


def _unknown(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"unknown option {name!r}" + (
        f" (did you mean {close[0]!r}?)" if close else f"; known are {', '.join(names)}"
    )


def _parse(name: str, value: object, kind: Any) -> object:
    optional = isinstance(kind, UnionType)
    number: type = next(k for k in get_args(kind) if k is not type(None)) if optional else kind
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "off")):
        if not optional:
            raise ValueError(f"option {name!r} cannot be switched off")
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"option {name!r} takes a number, not {value!r}")
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"option {name!r} takes a number, not {value!r}") from None
    if number is int:
        if parsed % 1 != 0:  # nan for infinity
            raise ValueError(f"option {name!r} takes a whole number, not {value!r}")
        return int(parsed)
    return parsed
