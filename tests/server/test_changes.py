"""What differs between two configurations is named key by key."""

from __future__ import annotations

import pytest

from sansio_pingora.server import changed_keys, conf_from_yaml

CONF = """\
threads: 2
limits: {max_head: 5000}
services:
  - {name: a, kind: origin, listeners: [{tcp: 'a:1'}], limits: {max_body: 1}}
  - {name: b, kind: proxy, listeners: [{tcp: 'a:2'}], upstreams: [{address: 'a:9'}], via: edge}
"""


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"threads: 2": "threads: 3", "5000": "6000"}, ["threads", "limits.max_head"]),
        ({"limits: {max_head: 5000}": "limits: {head_timeout: 1}"}, ["limits.max_head", "limits.head_timeout"]),
        ({"max_body: 1": "max_body: 2", "a:2": "a:3"}, ["services.a.limits.max_body", "services.b.listeners"]),
        ({"via: edge": "error_page: sorry"}, ["services.b.via", "services.b.error_page"]),
        ({"a:9": "a:8", "via: edge": "via: other"}, ["services.b.upstreams", "services.b.via"]),
        ({"name: a": "name: c"}, ["services.a (gone)", "services.c (new)"]),
        ({"name: a": "name: b", "name: b": "name: a"}, None),
    ],
)
def test_changed_keys(changes, keys):
    text = CONF
    for before, after in changes.items():
        text = text.replace(before, "@") if keys is None and before == "name: a" else text.replace(before, after)
    text = text.replace("@", "name: b")
    found = changed_keys(conf_from_yaml(CONF), conf_from_yaml(text))
    if keys is None:
        assert found[-1] == "services (their order)"
        assert {"services.a.kind", "services.b.kind"} <= set(found)
    else:
        assert found == keys
