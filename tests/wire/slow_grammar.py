"""The grammar of messages once more, byte by byte and obvious, to judge the compiled patterns by."""

from __future__ import annotations

from ipaddress import IPv6Address

ALPHA = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGIT = b"0123456789"
TCHAR = b"!#$%&'*+-.^_`|~" + DIGIT + ALPHA  # RFC 9110 section 5.6.2
UNSAFE_IN_TARGET = b'"<>\\#'


def is_token(raw: bytes) -> bool:
    return raw != b"" and all(byte in TCHAR for byte in raw)


def is_text(raw: bytes) -> bool:
    """HTAB, SP, VCHAR and obs-text."""
    return all(byte == 0x09 or 0x20 <= byte <= 0x7E or byte >= 0x80 for byte in raw)


def is_trimmed_text(raw: bytes) -> bool:
    return is_text(raw) and raw == raw.strip(b" \t")


def is_target(raw: bytes) -> bool:
    return raw != b"" and all(0x21 <= byte <= 0x7E and byte not in UNSAFE_IN_TARGET for byte in raw)


def is_version(raw: bytes) -> bool:
    return raw in (b"HTTP/1.0", b"HTTP/1.1")


def request_line(raw: bytes) -> tuple[bytes, bytes, bytes] | None:
    parts = raw.split(b" ")
    if len(parts) != 3:
        return None
    method, target, version = parts
    if not (is_token(method) and is_target(target) and is_version(version)):
        return None
    return method, target, version[5:]


def is_versioned_line(raw: bytes) -> bool:
    parts = raw.split(b" ")
    if len(parts) != 3:
        return False
    method, target, version = parts
    return (
        is_token(method)
        and target != b""
        and all(byte > 0x20 and byte != 0x7F for byte in target)
        and len(version) == 8
        and version.startswith(b"HTTP/")
        and version[5] in DIGIT
        and version[6:7] == b"."
        and version[7] in DIGIT
    )


def status_line(raw: bytes) -> tuple[bytes, bytes, bytes | None] | None:
    version, blank, rest = raw.partition(b" ")
    status, second_blank, reason = rest.partition(b" ")
    if not blank or not is_version(version):
        return None
    if len(status) != 3 or not all(byte in DIGIT for byte in status) or status[:1] == b"0":
        return None
    if not is_text(reason):
        return None
    return version[5:], status, reason if second_blank else None


def field_line(raw: bytes) -> tuple[bytes, bytes] | None:
    """Name and value, with the blanks in front of it gone."""
    name, colon, value = raw.partition(b":")
    return (name, value.lstrip(b" \t")) if colon and is_token(name) and is_text(value) else None


def field_block(raw: bytes) -> list[tuple[bytes, bytes]] | None:
    """Zero or more lines, each with its CRLF."""
    if raw == b"":
        return []
    if not raw.endswith(b"\r\n"):
        return None
    fields = [field_line(line) for line in raw[:-2].split(b"\r\n")]
    return None if None in fields else fields


def head(raw: bytes) -> tuple[bytes, bytes] | None:
    """The start line, and the field block with its line ends, of what ends as a head does."""
    if not raw.endswith(b"\r\n\r\n"):
        return None
    start, _, rest = raw[:-2].partition(b"\r\n")
    return (start, rest) if field_block(rest) is not None else None


def chunk_line(raw: bytes) -> tuple[bytes, bytes] | None:
    """The size's digits and the extensions of a chunk's first line (RFC 9112 section 7.1.1, without BWS)."""
    if not raw.endswith(b"\r\n"):
        return None
    line = raw[:-2]
    at = 0
    while at < len(line) and line[at] in b"0123456789abcdefABCDEF":
        at += 1
    if not 1 <= at <= 16:
        return None
    size, extensions = line[:at], line[at:]
    at = 0
    while at < len(extensions):
        if extensions[at : at + 1] != b";":
            return None
        after = _token_end(extensions, at + 1)
        if after == at + 1:
            return None
        at = after
        if extensions[at : at + 1] == b"=":
            start = at + 1
            after = (
                _quoted_end(extensions, start)
                if extensions[start : start + 1] == b'"'
                else _token_end(extensions, start)
            )
            if after is None or after == start:
                return None
            at = after
    return size, extensions


def _token_end(raw: bytes, at: int) -> int:
    while at < len(raw) and raw[at] in TCHAR:
        at += 1
    return at


def _quoted_end(raw: bytes, at: int) -> int | None:
    """Behind the closing quote of the string that opens at *at* (RFC 9110 section 5.6.4)."""
    at += 1
    while at < len(raw):
        byte = raw[at]
        if byte == ord('"'):
            return at + 1
        if byte == ord("\\"):
            at += 1
            if at == len(raw):
                return None
            byte = raw[at]
        if not is_text(bytes([byte])):
            return None
        at += 1
    return None


def list_members(raw: bytes) -> list[bytes]:
    return [member for part in raw.split(b",") if (member := part.strip(b" \t"))]


def authority(raw: bytes) -> tuple[bytes, int | None] | None:
    if raw.startswith(b"["):
        host, bracket, rest = raw[1:].partition(b"]")
        if not bracket:
            return None
        try:
            IPv6Address(host.decode("ascii"))
        except ValueError:
            return None
        if b"%" in host:
            return None
    else:
        host, colon, digits = raw.partition(b":")
        rest = colon + digits
        if not 1 <= len(host) <= 255 or not all(byte in ALPHA + DIGIT + b"._~-" for byte in host):
            return None
    if rest == b"":
        return host, None
    digits = rest[1:]
    if rest[:1] != b":" or not 1 <= len(digits) <= 5 or not all(byte in DIGIT for byte in digits):
        return None
    return (host, int(digits)) if int(digits) <= 65535 else None
