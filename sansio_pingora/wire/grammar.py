"""The grammar of HTTP messages as compiled patterns over bytes (RFC 9110 section 5, RFC 9112).

Strict on purpose: CRLF only, no obs-fold, no control bytes, ASCII-only names. What two
parsers may read differently is what request smuggling is made of, so it is refused.
Possessive quantifiers keep every match linear in its input. None of them stands on a
group that captures: the re of some 3.11 and 3.12 releases gets those wrong (gh-101955).
"""

from __future__ import annotations

import re

__all__ = [
    "CHUNK_LINE",
    "FIELD_LINE",
    "FIELD_NAME",
    "FIELD_VALUE",
    "LINE_BREAKER",
    "METHOD",
    "REASON",
    "REQUEST_LINE",
    "STATUS_LINE",
    "TARGET",
    "TOKEN_LIST",
    "VERSIONED_LINE",
]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# HTAB, SP, VCHAR, obs-text; neither NUL, other controls, nor DEL (RFC 9110 section 5.5).
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
# Printable ASCII less what no URI holds and what browsers always escape: " < > \ and the
# fragment mark. `{ } | ^ and backtick` are in too many real query strings to refuse.
_TARGET = rb"[!$-;=?-\[\]-~]++"

METHOD = re.compile(_TOKEN)
FIELD_NAME = METHOD
FIELD_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
TARGET = re.compile(_TARGET)
REASON = re.compile(_VALUE)

REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (" + _TARGET + rb") HTTP/(1\.[01])")
STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"))?")
# A well-formed line of a version that is not ours: 505 rather than 400.
VERSIONED_LINE = re.compile(rb"" + _TOKEN + rb" [\x21-\x7e\x80-\xff]++ HTTP/[0-9]\.[0-9]")
# Blanks behind the value are the caller's to strip.
FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):[ \t]*+(" + _VALUE + rb")")

# What no line may hold: controls but HTAB, and DEL.
LINE_BREAKER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

# RFC 9112 section 7.1.1: chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS value ] ). We take no
# bad whitespace: no recipient needs it and it has hidden chunks (CVE-2025-55315).
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+)\r\n"
)

# Connection, Upgrade, TE-like lists: split at commas, trimmed; empty members are legal (RFC 9110 section 5.6.1).
TOKEN_LIST = re.compile(rb"[^,\t ][^,]*(?<![\t ])")
