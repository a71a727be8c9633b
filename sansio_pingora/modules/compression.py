"""Compression of responses, and decompression for clients that cannot."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.modules.codings import (
    CODINGS,
    Decoder,
    Dictionary,
    Encoder,
    available_codings,
    new_decoder,
    new_encoder,
)
from sansio_pingora.modules.http_module import HttpModule
from sansio_pingora.modules.negotiation import accepted_codings, choose_coding, compressible_type, may_have

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession
    from sansio_pingora.wire import Fields, ResponseHeader

__all__ = ["ResponseCompression"]

_LEAST = 20
"""Bytes: less does not get smaller."""
_FREE = 1_048_576
"""Decoded bytes before the ratio is looked at."""
# What was said of the bytes as they were, and of parts of them.
_STALE = frozenset({b"content-length", b"accept-ranges", b"content-md5", b"content-digest", b"repr-digest", b"digest"})


class ResponseCompression(HttpModule):
    """Compresses responses, and decompresses those that the client could not read.

    ``modules.add_module(ResponseCompression)``, or with options ``partial(ResponseCompression, level=4)``. Downstream
    it sees what leaves; upstream what came, before the filters of the application see it.

    A body without a Content-Length is flushed piece by piece, so that event streams arrive event by event. What a
    body decompresses to is bounded by the limits ``max_expansion`` and ``max_decoded_body``.
    """

    order = -16_384

    def __init__(
        self,
        level: int = 6,
        *,
        decompress: bool = False,
        preserve_etag: bool = False,
        codings: Iterable[str] | None = None,
        dictionaries: Iterable[Dictionary] = (),
    ) -> None:
        """*level*: 0 for no compression, up to 9 for gzip, 11 for br, 22 for zstd; higher ones are cut to that.

        *codings*: the most wanted first; those that are installed by default. *preserve_etag*: a strong ETag stays,
        for origins that do not mean it so. *dictionaries*: clients may have them, and say so (RFC 9842).

        :raises ValueError: a coding that is not known, or whose library is not installed.
        """
        there = available_codings()
        wanted = there if codings is None else tuple(codings)
        for name in wanted:
            if name not in there:
                raise ValueError(
                    f"{name!r} needs a library: pip install 'sansio-pingora[compress]'"
                    if name in CODINGS
                    else f"unknown content coding {name!r}: {', '.join(CODINGS)}"
                )
        self._levels = dict.fromkeys(wanted, level)
        self._decompress = decompress
        self._preserve_etag = preserve_etag
        self._dictionaries = tuple(dictionaries)
        self._settled = False
        self._encoder: Encoder | None = None
        self._decoder: Decoder | None = None
        self._coding = ""
        self._flush = False
        self._in = 0
        self._decoded = 0
        self._out = 0

    # ── before the response ──────────────────────────────────────────────────────────

    def adjust_level(self, level: int) -> None:
        """Compress this response at *level*, 0 for not.

        :raises LocalProtocolError: its head has gone out.
        """
        self._adjust()
        self._levels = dict.fromkeys(self._levels, level)

    def adjust_algorithm_level(self, coding: str, level: int) -> None:
        """The same for one coding.

        :raises LocalProtocolError: its head has gone out, or the coding is not among those of this module.
        """
        self._adjust()
        if coding not in self._levels:
            raise LocalProtocolError(f"{coding!r} is not among the codings of this module: {', '.join(self._levels)}")
        self._levels[coding] = level

    def adjust_decompression(self, decompress: bool) -> None:
        """Whether this response is decompressed where the client cannot do it.

        :raises LocalProtocolError: its head has gone out.
        """
        self._adjust()
        self._decompress = decompress

    def adjust_preserve_etag(self, preserve: bool) -> None:
        """Whether a strong ETag stays strong.

        :raises LocalProtocolError: the head has gone out.
        """
        self._adjust()
        self._preserve_etag = preserve

    def get_info(self) -> tuple[str, int, int] | None:
        """What was done, as ``gzip``, ``de-gzip`` or ``de-br+gzip``, and bytes in and out; None: nothing."""
        return (self._coding, self._in, self._out) if self._coding else None

    def _adjust(self) -> None:
        if self._settled:
            raise LocalProtocolError("compression is settled with the response's head: adjust it before")

    # ── the response ─────────────────────────────────────────────────────────────────

    def response_header_filter(self, session: ServerSession, response: ResponseHeader, end_of_stream: bool) -> None:
        """Decide what is done with the body, and say so in the head."""
        self._settled = True
        request = session.req_header
        if request is None or (end_of_stream and request.method != b"HEAD" and response.status != 304):
            return
        fields = response.fields
        accepted = accepted_codings(request.fields)
        if response.status == 304:
            self._not_modified(fields, accepted)
            return
        if response.status in (204, 206) or b"content-range" in fields.index:
            return  # a part of one coding is no part of another (RFC 9110 section 14.2)
        if b"no-transform" in fields.tokens(b"cache-control") or b"no-transform" in request.fields.tokens(
            b"cache-control"
        ):
            return
        self._flush = b"content-length" not in fields.index
        there = b", ".join(fields.get_all(b"content-encoding")).strip().lower().decode("latin-1")
        there = "gzip" if there == "x-gzip" else there
        if there in ("", "identity"):
            self._compress(session, fields, accepted)
        elif self._decompress and there in available_codings():
            _vary(fields, b"accept-encoding")
            if not may_have(accepted, there):
                fields.remove(b"content-encoding")
                self._decoder = new_decoder(there, self._known)
                self._coding = f"de-{there}"
                self._compress(session, fields, accepted)
                self._rewrite(fields)

    def _compress(self, session: ServerSession, fields: Fields, accepted: dict[str, float]) -> None:
        """Encode the body, if that is worth while and wanted."""
        offered = [name for name in self._levels if self._levels[name]]
        size = fields.get(b"content-length")
        if not offered or not compressible_type(fields.get(b"content-type")):
            return
        if size is not None and self._decoder is None and size.isdigit() and int(size) < _LEAST:
            return
        _vary(fields, b"accept-encoding")
        dictionary = None
        if "dcz" in offered:
            if self._dictionaries:
                _vary(fields, b"available-dictionary")
                dictionary = self._available(session)
            if dictionary is None:
                offered.remove("dcz")
        coding = choose_coding(accepted, offered)
        if coding is None:
            return
        self._encoder = new_encoder(coding, self._levels[coding], dictionary)
        self._coding = f"{self._coding}+{coding}" if self._coding else coding
        fields.insert(b"Content-Encoding", coding)
        self._rewrite(fields)

    def _available(self, session: ServerSession) -> Dictionary | None:
        """The dictionary that the client has (RFC 9842 section 2.2)."""
        said = session.get_header(b"available-dictionary")
        for known in self._dictionaries:
            if said == b":" + b64encode(known.hash) + b":":
                return known
        return None

    def _known(self, digest: bytes) -> Dictionary | None:
        return next((known for known in self._dictionaries if known.hash == digest), None)

    def _rewrite(self, fields: Fields) -> None:
        """Take away what was true of the bytes as they came (RFC 9110 section 7.7)."""
        fields.remove_all(_STALE)
        if not self._preserve_etag:
            _weaken(fields)

    def _not_modified(self, fields: Fields, accepted: dict[str, float]) -> None:
        """What the client has may have been compressed here: its ETag was a weak one then."""
        if any(self._levels.values()) and choose_coding(accepted, self._levels) is not None:
            _vary(fields, b"accept-encoding")
            if not self._preserve_etag:
                _weaken(fields)

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """Decode, encode, and flush where somebody may be waiting."""
        if self._decoder is None and self._encoder is None:
            return None
        self._in += len(body)
        if self._decoder is not None:
            body = self._decode(session, self._decoder, body)
            if end_of_stream:
                self._decoder.finish()
        encoder = self._encoder
        if encoder is not None:
            made = encoder.encode(body) if body else b""
            if end_of_stream:
                made += encoder.finish()
            elif self._flush and body:
                made += encoder.flush()
            body = made
        self._out += len(body)
        return body

    def _decode(self, session: ServerSession, decoder: Decoder, body: bytes) -> bytes:
        limits = session.limits
        ceiling = max(_FREE, int(self._in * limits.max_expansion))
        if limits.max_decoded_body is not None:
            ceiling = min(ceiling, limits.max_decoded_body)
        decoded = decoder.decode(body, ceiling - self._decoded)
        self._decoded += len(decoded)
        return decoded


def _vary(fields: Fields, name: bytes) -> None:
    """Caches are to tell responses apart by the request field *name*."""
    said = fields.tokens(b"vary")
    if name not in said and b"*" not in said:
        fields.append(b"Vary", name)


def _weaken(fields: Fields) -> None:
    """The bytes change, what they mean does not (RFC 9110 section 8.8.1)."""
    tag = fields.get(b"etag")
    if tag is None or tag.startswith(b"W/"):
        return
    if tag.startswith(b'"'):
        fields.insert(b"ETag", b"W/" + tag)
    else:
        fields.remove(b"etag")
