"""The limits table: defaults as promised, and every text in force or refused."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.limits import Limits

NAMES = [field.name for field in fields(Limits)]
OPTIONAL = {field.name for field in fields(Limits) if "None" in str(field.type)}
WHOLE = {field.name for field in fields(Limits) if "int" in str(field.type)}

DEFAULTS = {
    "first_byte_timeout": 10,
    "head_timeout": 10,
    "keepalive_timeout": 60,
    "body_idle_timeout": 30,
    "min_body_rate": 500,
    "write_idle_timeout": 30,
    "min_send_rate": None,
    "linger_timeout": 1,
    "linger_bytes": 65_536,
    "max_head": 65_536,
    "max_fields": 128,
    "max_line": 16_384,
    "max_trailers": 8_192,
    "max_trailer_fields": 32,
    "max_chunk_overhead": 16_384,
    "max_body": None,
    "max_buffered_body": 16 * 1024 * 1024,
    "high_water": 65_536,
    "replay_buffer": 65_536,
    "max_informational": 16,
    "max_informational_size": 65_536,
    "max_expansion": 100.0,
    "request_timeout": None,
    "retry_backoff": 0.0,
    "max_retry_backoff": 1.0,
    "max_decoded_body": None,
    "keepalive_request_limit": None,
    "max_unlogged": 100,
    "max_connections": None,
    "accept_rate": None,
    "handshake_timeout": 5,
    "max_client_hello": 32768,
    "tls_context_cache_size": 64,
    "tls_session_cache_size": 1024,
    "alpn_cache_size": 1024,
    "alpn_cache_timeout": 300,
    "connection_timeout": 5,
    "total_connection_timeout": 10,
    "upstream_keepalive_pool_size": 128,
    "max_per_peer": None,
    "pool_wait_timeout": 5,
    "read_timeout": 60,
    "write_timeout": 60,
    "idle_timeout": 60,
    "max_retries": 16,
    "retry_budget": 0.2,
    "h2_max_streams": 100,
    "h2_window": 256 * 1024,
    "h2_connection_window": 1024 * 1024,
    "h2_send_buffer": 256 * 1024,
    "h2_ping_interval": None,
    "h2_ping_timeout": 5,
    "h2_settings_timeout": 10,
    "h2_drain_timeout": 5,
    "h2_stall_timeout": 30,
    "h2_connection_stall_timeout": 60,
    "h2_reset_burst": 200,
    "h2_reset_rate": 33,
    "h2_max_continuations": 8,
    "h2_settings_burst": 32,
    "h2_settings_rate": 5,
    "h2_ping_burst": 100,
    "h2_ping_rate": 10,
    "h2_max_control_queue": 1000,
    "h2_max_empty_frames": 100,
    "h2_max_priority_frames": 100,
    "h2_max_window_updates": 10,
    "h2_max_unasked_acks": 1000,
    "h2_max_unknown_frames": 1000,
    "ws_max_message": 1024 * 1024,
    "ws_max_fragments": 1024,
    "ws_send_buffer": 1_048_576,
    "ws_ping_interval": 20,
    "ws_close_timeout": 10,
}


def test_defaults_are_those_that_we_promise():
    assert {name: getattr(Limits(), name) for name in NAMES} == DEFAULTS


@pytest.mark.parametrize("name", NAMES)
def test_every_key_takes_text_and_numbers(name):
    for value in (7, 7.0, "7", " 7 ", "7.0", "7e0"):
        found = getattr(Limits.from_options({name: value}), name)
        assert found == 7
        assert type(found) is (int if name in WHOLE else float)


@pytest.mark.parametrize("name", NAMES)
def test_only_optional_keys_can_be_switched_off(name):
    for value in (None, "none", "None", "null", "off", "OFF"):
        if name in OPTIONAL:
            assert getattr(Limits.from_options({name: value}), name) is None
        else:
            with pytest.raises(ValueError, match=f"'{name}' cannot be switched off"):
                Limits.from_options({name: value})


NEITHER_SIZE_NOR_DURATION = [
    *("-1", "inf", "-inf", "nan", "", "5s", "x", "1e999"),
    *(-1, math.inf, math.nan, 10**400, True, False, [], b"5"),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_key_refuses_what_is_no_size_or_duration(name):
    for value in NEITHER_SIZE_NOR_DURATION:
        with pytest.raises(ValueError, match=name):
            Limits.from_options({name: value})


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_sizes_and_counts_are_whole(name):
    with pytest.raises(ValueError, match="whole number"):
        Limits.from_options({name: "1.5"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("head_timout", "did you mean 'head_timeout'"),
        ("nonsense", "known are first_byte_timeout, head_timeout"),
        ("from_options", "unknown option 'from_options'"),
    ],
)
def test_an_unknown_key_is_never_ignored(name, message):
    with pytest.raises(ValueError, match=message):
        Limits.from_options({"max_head": 5, name: "1"})


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(NAMES), st.text(max_size=8) | st.floats() | st.integers()))
def test_any_options_are_in_force_or_refused(options):
    try:
        limits = Limits.from_options(options)
    except ValueError as refused:
        assert str(refused)
    else:
        for name in options:
            value = getattr(limits, name)
            assert value is None or (math.isfinite(value) and value >= 0)


def test_the_constructor_checks_as_well():
    with pytest.raises(ValueError, match="head_timeout must be a number of 0 or more"):
        Limits(head_timeout=-1)
    with pytest.raises(ValueError, match="max_head"):
        Limits(max_head="5")


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_none_is_refused_as_0(name):
    if name != "max_unlogged":
        assert getattr(Limits.from_options({name: 0}), name) == 0
        return
    with pytest.raises(ValueError, match="max_unlogged must be a number of 1 or more, not 0"):
        Limits.from_options({name: "0"})
