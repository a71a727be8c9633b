"""HPACK, the compression of heads in HTTP/2 (RFC 7541): one decoder and one encoder for each connection."""

from sansio_pingora.http2.hpack.decoder import Decoder, FieldBlock
from sansio_pingora.http2.hpack.encoder import Encoder
from sansio_pingora.http2.hpack.integers import HpackFault

__all__ = ["Decoder", "Encoder", "FieldBlock", "HpackFault"]
