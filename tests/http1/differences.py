"""What the reference engine does otherwise than the native one: test name → reason.

The tests of these names fail with ``engine="hyper"``; each is tried all the same, so that a
row whose reason has gone is noticed.
"""

from __future__ import annotations

BARE_LF = "h11 takes a bare LF as the end of a line in heads and trailers"
OBS_FOLD = "h11 takes obsolete line folding, in trailers too"
EXTENSIONS = "h11 skips chunk extensions unread: any bytes but LF, and blanks behind the size"

HTTP_10 = "h11 announces the end of the connection to every HTTP/1.0 client"

DIFFERENCES: dict[str, str] = {
    "test_http_10_keeps_alive_when_it_asks": HTTP_10,
    "test_request[CHUNK-quoted_crlf_ext]": EXTENSIONS,
    "test_request[CHUNK-size_ext_cr]": EXTENSIONS,
    "test_request[CHUNK-size_ext_nul]": EXTENSIONS,
    "test_request[CHUNK-size_ext_unterminated]": EXTENSIONS,
    "test_request[CHUNK-size_ext_vt]": EXTENSIONS,
    "test_request[CHUNK-size_semi_sp]": EXTENSIONS,
    "test_request[CHUNK-term_last_crlf_lf]": BARE_LF,
    "test_request[HDR-fold]": OBS_FOLD,
    "test_request[LINE-lf_end]": BARE_LF,
    "test_request[LINE-lf_reqline]": BARE_LF,
    "test_request[NAME-cl_colon_lf]": BARE_LF,
    "test_request[NAME-cl_fold_before]": OBS_FOLD,
    "test_request[NAME-cl_lf_before]": BARE_LF,
    "test_request[NAME-cl_lf_only_end]": BARE_LF,
    "test_request[NAME-te_colon_lf]": BARE_LF,
    "test_request[NAME-te_lf_only_end]": BARE_LF,
    "test_request[TE-crlf_fold]": OBS_FOLD,
    "test_request[TRAILER-fold]": OBS_FOLD,
    "test_request[TRAILER-lf]": BARE_LF,
}
