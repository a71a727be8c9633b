"""Configurations that can be used, and thirty and more that cannot: one line each, with place and remedy."""

from __future__ import annotations

import json
import threading

import pytest

from sansio_pingora.apps import HttpServerApp, Response
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.server import ConfError, Server, ServerConf, UpstreamTls, conf_from_yaml, json_schema, load_conf
from sansio_pingora.services import Service
from sansio_pingora.tls import ClientAuth
from sansio_pingora.upstreams import ALPN
from tests.adapters.harness import GET, client, until

GOOD = """\
version: 1
runtime: threads
threads: 2
limits: {head_timeout: 5, max_body: null}
services:
  - name: edge
    kind: proxy
    listeners:
      - {tcp: "127.0.0.1:6188", h2c: true, backlog: 100, tcp_keepalive: {idle: 60, interval: 5, count: 3}}
      - {uds: /run/edge.sock, permissions: 0o660}
    upstreams: [{address: "127.0.0.1:9000", weight: 2, alpn: [h2]}]
    balance: round_robin
    limits: {read_timeout: 7.5}
    via: edge
    access_log: {path: /var/log/edge.log, format: json}
"""


def service(text: str) -> str:
    return f"services:\n  - name: edge\n    kind: proxy\n{text}"


LISTENS = '    listeners: [{tcp: "127.0.0.1:1"}]\n'
UPSTREAMS = '    upstreams: [{address: "127.0.0.1:9"}]\n'


def listener_tls(text: str) -> str:
    return service(f"    listeners: [{{tcp: 'a:1', tls: {{{text}}}}}]\n{UPSTREAMS}")


BROKEN = {
    "no yaml": ("services: [1\n", "c.yaml:2:1 this is not YAML"),
    "tab": ("a:\n\t- b\n", "c.yaml:2:1 this is not YAML"),
    "control character": ("threads: 1\nruntime: \x01\n", "c.yaml:2:1 a character that YAML forbids"),
    "a list": ("- 1\n", "c.yaml:1:1 the file takes keys and values"),
    "duplicate": ("threads: 1\nthreads: 2\n", "c.yaml:2:1 key 'threads' is there twice, first in line 1: remove one"),
    "duplicate deep": ("limits: {max_head: 1, max_head: 2}\n", "c.yaml:1:23 key 'max_head' is there twice"),
    "yes": ("work_stealing: yes\n", "c.yaml:1:16 work_stealing takes true or false, not 'yes': in YAML 1.2"),
    "text for a number": ("threads: two\n", "c.yaml:1:10 threads takes a whole number of 1 or more, not 'two'"),
    "zero threads": ("threads: 0\n", "c.yaml:1:10 threads takes a whole number of 1 or more, not 0"),
    "half a thread": ("threads: 1.5\n", "threads takes a whole number of 1 or more, not 1.5"),
    "negative time": ("grace_period_seconds: -1\n", "takes a number of 0 or more, not -1"),
    "infinite time": ("grace_period_seconds: 1e999\n", "takes a number of 0 or more, not inf"),
    "null": ("error_log:\n", "c.yaml:1:11 error_log takes text, not None: write one, or leave the key out"),
    "a tag": ("threads: !!int 3\n", "the tag 'tag:yaml.org,2002:int' has no meaning here"),
    "version": ("version: 2\n", "version takes a whole number from 1 to 1, not 2"),
    "limit misspelt": ("limits: {head_timeot: 5}\n", "unknown key 'head_timeot' (did you mean 'head_timeout'?)"),
    "limit of text": ("limits: {max_head: '5'}\n", "max_head takes a whole number of 0 or more, not '5'"),
    "limit of none": ("limits: {max_unlogged: 0}\n", "max_unlogged takes a whole number of 1 or more, not 0"),
    "limit off": ("limits: {max_head: null}\n", "max_head takes a whole number of 0 or more, not None"),
    "no s2n": ("s2n_config_cache_size: 1\n", "cannot be set: there is no s2n here: remove it"),
    "no offload": ("upstream_connect_offload_threadpools: 1\n", "cannot be set: connects never block here"),
    "long path": (f"upgrade_sock: /{'a' * 107}\n", "longer than the 107 bytes"),
    "source": ("client_bind_to_ipv4: ['::1']\n", "takes an IPv4 address, not '::1': an address without a port"),
    "source no list": ("client_bind_to_ipv4: 127.0.0.2\n", "takes a list: write [one, two]"),
    "no list": ("services: {name: a}\n", "c.yaml:1:11 services takes a list"),
    "kind": ("services:\n  - {name: a, kind: prxy, listeners: [{tcp: 'a:1'}]}\n", "not 'prxy': did you mean 'proxy'?"),
    "no name": ("services:\n  - {kind: origin, listeners: [{tcp: 'a:1'}]}\n", "services[0] lacks 'name': add it"),
    "no listener": (
        "services:\n  - {name: a, kind: origin, listeners: []}\n",
        "listeners is empty: it needs 1 or more",
    ),
    "service key": (service(LISTENS + UPSTREAMS + "    balanse: random\n"), "(did you mean 'balance'?)"),
    "no upstreams": (service(LISTENS), "a proxy needs upstreams: add upstreams:"),
    "origin with upstreams": (
        f"services:\n  - name: a\n    kind: origin\n{LISTENS}{UPSTREAMS}",
        "upstreams belongs to kind: proxy",
    ),
    "port": (service('    listeners: [{tcp: "127.0.0.1:99999"}]\n' + UPSTREAMS), "write host:port, [IPv6]:port"),
    "no port": (service("    listeners: [{tcp: 22:22:1}]\n" + UPSTREAMS), 'takes an address like "127.0.0.1:6188"'),
    "both": (service('    listeners: [{tcp: "a:1", uds: /a}]\n' + UPSTREAMS), "a listener has either tcp"),
    "permissions of tcp": (
        service('    listeners: [{tcp: "a:1", permissions: 0o600}]\n' + UPSTREAMS),
        "permissions belong to uds",
    ),
    "permissions decimal": (
        service("    listeners: [{uds: /a, permissions: 660}]\n" + UPSTREAMS),
        "a mode like '0660'",
    ),
    "weight": (service(LISTENS + "    upstreams: [{address: 'a:1', weight: 0}]\n"), "from 1 to 65535, not 0"),
    "balance": (service(LISTENS + UPSTREAMS + "    balance: robin\n"), "balance takes one of round_robin"),
    "twice the same upstream": (
        service(LISTENS + "    upstreams: [{address: 'a:1'}, {address: 'a:1'}]\n"),
        "upstream a:1 is there twice: give it a weight",
    ),
    "two versions without tls": (
        service(LISTENS + "    upstreams: [{address: 'a:1', alpn: [h2, http/1.1]}]\n"),
        "alpn without tls names the one version that is spoken",
    ),
    "tls without key": (listener_tls("cert: c.pem"), "c.yaml:4:35 tls lacks 'key': add it"),
    "tls and h2c": (
        service("    listeners: [{tcp: 'a:1', h2c: true, tls: {cert: c, key: k}}]\n" + UPSTREAMS),
        "h2c is HTTP/2 without TLS",
    ),
    "tls version": (listener_tls("cert: c, key: k, min_version: TLSv1.1"), "min_version takes one of TLSv1.2, TLSv1.3"),
    "authorities for nobody": (
        listener_tls("cert: c, key: k, client_auth: required"),
        "client_ca and client_auth belong together",
    ),
    "names no map": (listener_tls("cert: c, key: k, names: [a.com]"), "write 'host name: …'"),
    "a name twice": (
        listener_tls("cert: c, key: k, names: {a.com: {cert: c, key: k}, a.com: {cert: c, key: k}}"),
        "key 'a.com' is there twice",
    ),
    "a name without key": (listener_tls("cert: c, key: k, names: {a.com: {cert: c}}"), "lacks 'key': add it"),
    "upstream certificate alone": (
        service(LISTENS + "    upstreams: [{address: 'a:1', tls: {cert: c}}]\n"),
        "cert and key belong together",
    ),
    "upstream without a name": (
        service(LISTENS + "    upstreams: [{address: 'unix:/a', tls: {}}]\n"),
        "there is no other name to check the certificate by",
    ),
    "sni": (service(LISTENS + "    upstreams: [{address: 'a:1', tls: {sni: a b}}]\n"), "sni 'a b' is no host name"),
    "frequency of nothing": (
        service(LISTENS + UPSTREAMS + "    update_frequency: 5\n"),
        "update_frequency belongs to discovery: dns",
    ),
    "same address in one service": (
        "services:\n  - {name: a, kind: origin, listeners: [{tcp: 'a:1'}, {tcp: 'a:1'}]}\n",
        "c.yaml:2:55 a:1 is taken by this service already, at c.yaml:2:41: remove one",
    ),
    "key of nothing": (
        service(LISTENS + UPSTREAMS + "    balance: random\n    balance_key: client\n"),
        "c.yaml:7:18 balance_key has no effect with balance: random: leave it out, or choose fnv_hash or consistent",
    ),
    "host of nobody": (
        service(LISTENS + UPSTREAMS + "    health_check: {kind: http, path: /}\n"),
        "c.yaml:6:19 a check of kind: http needs host: add the name",
    ),
    "path of a tcp check": (
        service(LISTENS + UPSTREAMS + "    health_check: {path: /}\n"),
        "path belongs to a check of kind: http",
    ),
    "path that is none": (
        service(LISTENS + UPSTREAMS + "    health_check: {kind: http, host: a, path: a b}\n"),
        "path takes a path, not 'a b'",
    ),
    "ejections": (
        service(LISTENS + UPSTREAMS + "    outlier_detection: {base_ejection_time: 9, max_ejection_time: 8}\n"),
        "the longest is not below the base",
    ),
    "prometheus with upstreams": (
        f"services:\n  - name: a\n    kind: prometheus\n{LISTENS}{UPSTREAMS}",
        "upstreams belongs to kind: proxy, and this is kind: prometheus",
    ),
    "access format": (
        service(LISTENS + UPSTREAMS + "    access_log: {path: /a, format: '{statsu}'}\n"),
        "there is no field {statsu}: did you mean {status}?",
    ),
    "networks": (service("    listeners: [{tcp: 'a:1', proxy_protocol: [ten]}]\n" + UPSTREAMS), "trusted source 'ten'"),
    "trusted without forwarded": (
        service(LISTENS + UPSTREAMS + "    trusted_proxies: ['10.0.0.0/8']\n"),
        "'trusted_proxies' has no effect without 'forwarded'",
    ),
    "same name": (
        (
            "services:\n  - {name: a, kind: origin, listeners: [{tcp: 'a:1'}]}\n"
            "  - {name: a, kind: origin, listeners: [{tcp: 'a:2'}]}\n"
        ),
        "c.yaml:3:5 the service 'a' is there twice",
    ),
    "same address": (
        (
            "services:\n  - {name: a, kind: origin, listeners: [{tcp: 'a:1'}]}\n"
            "  - {name: b, kind: origin, listeners: [{tcp: 'a:1'}]}\n"
        ),
        "c.yaml:3:41 a:1 is taken by the service 'a' already, at c.yaml:2:41: remove one, or give it another address",
    ),
}


@pytest.mark.parametrize(("text", "line"), BROKEN.values(), ids=BROKEN)
def test_a_broken_configuration_is_refused_in_one_line_with_the_place(text, line):
    with pytest.raises(ConfError) as caught:
        conf_from_yaml(text, "c.yaml")

    assert len(caught.value.problems) == 1, caught.value.problems
    problem = caught.value.problems[0]
    assert problem.startswith("c.yaml:")
    assert line in problem
    assert "\n" not in problem


def test_a_good_one():
    conf = conf_from_yaml(GOOD, "c.yaml")

    assert (conf.runtime, conf.threads, conf.limits) == ("threads", 2, {"head_timeout": 5.0, "max_body": None})
    (edge,) = conf.services
    assert [str(listener.address) for listener in edge.listeners] == ["127.0.0.1:6188", "unix:/run/edge.sock"]
    assert [listener.h2c for listener in edge.listeners] == [True, False]
    assert edge.listeners[0].address.options.backlog == 100
    assert edge.listeners[1].address.permissions == 0o660
    assert (edge.upstreams[0].weight, edge.options, edge.limits) == (2, {"via": "edge"}, {"read_timeout": 7.5})
    assert conf.place("services[0].listeners[0].tcp") == "c.yaml:9:15"


def test_tls_of_listeners_and_upstreams():
    names = "names: {www.a.com: {cert: a.pem, key: a.key}}, client_ca: ca.pem, alpn: [http/1.1]"
    conf = conf_from_yaml(
        service(
            f"    listeners: [{{tcp: '127.0.0.1:1', tls: {{cert: c.pem, key: k.pem, {names}}}}}]\n"
            "    upstreams:\n"
            "      - {address: 'a:1', tls: {sni: app.internal, verify: false, ca: ca.pem}}\n"
            "      - {address: 'a:2', alpn: [h2]}\n"
        ),
        "c.yaml",
    )

    (edge,) = conf.services
    tls = edge.listeners[0].tls
    assert tls is not None
    assert (str(tls.address), tls.cert, tls.key, tls.client_ca) == ("127.0.0.1:1", "c.pem", "k.pem", "ca.pem")
    assert (tls.names, tls.alpn, tls.client_auth) == (
        {"www.a.com": ("a.pem", "a.key")},
        ("http/1.1",),
        ClientAuth.REQUIRED,
    )
    first, second = edge.upstreams
    assert first.tls == UpstreamTls(sni="app.internal", verify=False, ca="ca.pem")
    assert (first.alpn, second.alpn, second.tls) == (ALPN.H2H1, ALPN.H2, None)
    assert conf.place("services[0].listeners[0].tls.names.www.a.com.cert") == "c.yaml:4:95"


def test_all_problems_are_said_at_once():
    with pytest.raises(ConfError) as caught:
        conf_from_yaml("threads: 0\nlimits: {a: 1, b: 2}\n", "c.yaml")

    assert [problem.split()[0] for problem in caught.value.problems] == ["c.yaml:1:10", "c.yaml:2:10", "c.yaml:2:16"]


def test_what_does_not_go_together_is_said_beside_what_is_misspelt():
    text = """\
threads: 0
services:
  - {name: a, kind: nothing, listeners: [{tcp: 'a:1'}]}
  - name: b
    kind: proxy
    listeners: [{tcp: '1'}, {tcp: 'a:2'}]
    upstreams: [{address: 'a:9'}, {address: 9}, {address: 'a:9'}]
    balance_key: host
    update_frequency: 5
    health_check: {kind: http, path: 'a b'}
    limits: {max_haed: 1}
  - {name: b, kind: origin, via: x, listeners: [{tcp: 'a:2'}]}
"""
    with pytest.raises(ConfError) as caught:
        conf_from_yaml(text, "c")

    found = sorted(caught.value.problems, key=lambda one: [int(part) for part in one.split()[0].split(":")[1:]])
    assert [" ".join(one.split()[:3]) for one in found] == [
        "c:1:10 threads takes",
        "c:3:21 kind takes",
        "c:6:23 tcp takes",
        "c:7:45 address takes",
        "c:7:49 upstream a:9",
        "c:8:18 balance_key has",
        "c:9:23 update_frequency belongs",
        "c:10:19 a check",
        "c:10:38 path takes",
        "c:11:14 unknown key",
        "c:12:5 the service",
        "c:12:34 via belongs",
        "c:12:49 a:2 is",
    ]
    rest = caught.value.rest
    assert rest is not None
    assert [service.name for service in rest.services] == ["b", "b"]
    assert rest.place("services[0].listeners[0].tcp") == "c:6:35"


def test_an_index_in_a_problem_counts_what_was_dropped_before_it():
    text = """\
services:
  - {kind: origin, listeners: [{tcp: 'a:1'}]}
  - {kind: origin, listeners: [{tcp: 'a:2'}]}
  - {name: a, kind: origin, listeners: [{tcp: 1}, {tcp: 'a:3'}, {tcp: 'a:3'}]}
  - {name: a, kind: origin, listeners: [{tcp: 'a:3'}]}
"""
    with pytest.raises(ConfError) as caught:
        conf_from_yaml(text, "c")

    assert [problem.partition(":")[2].partition(":")[0] for problem in caught.value.problems] == list("234455")
    assert [problem.partition(" ")[2].partition(":")[0] for problem in caught.value.problems[:2]] == [
        "services[0] lacks 'name'",
        "services[1] lacks 'name'",
    ]
    same_service, same_name, same_address = caught.value.problems[3:]
    assert same_service.startswith("c:4:65 a:3 is taken by this service already, at c:4:51: ")
    assert same_name.startswith("c:5:5 the service 'a' is there twice, first at c:4:5: ")
    assert same_address.startswith("c:5:41 a:3 is taken by the service 'a' already, at c:4:51: ")
    rest = caught.value.rest
    assert rest is not None
    assert rest.place("services[0].listeners[0].tcp") == "c:4:57"
    assert not {path for path in rest.places if path.startswith(("services[2]", "services[0].listeners[2]"))}


def test_nothing_is_a_configuration_of_defaults():
    assert conf_from_yaml("") == conf_from_yaml("version: 1") == ServerConf()


def test_types_are_those_of_yaml_1_2():
    conf = conf_from_yaml("threads: 0x10\ngrace_period_seconds: 0o17\nerror_log: no\nruntime: 22:22\n")

    assert (conf.threads, conf.grace_period_seconds, conf.error_log, conf.runtime) == (16, 15.0, "no", "22:22")


def test_unknown_keys_at_the_top_are_the_users_own_and_warned_about():
    conf = conf_from_yaml("thread: 1\nmine: {a: b}\n", "c.yaml")

    assert conf.warnings == (
        "c.yaml:1:1 unknown key 'thread' (did you mean 'threads'?)",
        "c.yaml:2:1 unknown key 'mine'",
    )


def test_what_has_no_effect_is_warned_about():
    conf = conf_from_yaml("work_stealing: true\nlistener_tasks_per_fd: 4\n", "c.yaml")

    assert [warning.split()[0] for warning in conf.warnings] == ["c.yaml:1:16", "c.yaml:2:24"]


def test_the_environment_goes_before_the_file():
    environ = {"SANSIO_PINGORA_THREADS": "3", "SANSIO_PINGORA_LIMITS__MAX_HEAD": "77", "HOME": "/"}
    conf = conf_from_yaml(GOOD, "c.yaml", environ)

    assert (conf.threads, conf.limits["max_head"], conf.limits["head_timeout"]) == (3, 77, 5.0)
    assert conf.place("threads") == "environment:SANSIO_PINGORA_THREADS"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("THREADS", "no", "threads takes a whole number"),
        ("THREDS", "1", "names no key that has one value (did you mean 'threads'?)"),
        ("SERVICES", "1", "names no key"),
        ("LIMITS__MAX_HED", "1", "names no key"),
    ],
)
def test_a_variable_that_does_not_go_is_refused(name, value, text):
    with pytest.raises(ConfError, match=r"^environment:SANSIO_PINGORA_") as caught:
        conf_from_yaml("", environ={f"SANSIO_PINGORA_{name}": value})

    assert text in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfError, match=r"missing\.yaml: it cannot be read: No such file"):
        load_conf(str(tmp_path / "missing.yaml"))
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"version: 1\nerror_log: \xff\n")
    with pytest.raises(ConfError, match=r"bad\.yaml:2:1 it is not UTF-8"):
        load_conf(str(bad))


def test_the_schema_is_json_and_knows_every_key():
    schema = json.loads(json.dumps(json_schema()))

    assert schema["properties"]["services"]["items"]["required"] == ["name", "kind", "listeners"]
    assert schema["properties"]["threads"] == {"type": "integer", "minimum": 1}
    assert "daemon" in schema["properties"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"threads": "2"}, "ServerConf: threads takes a whole number of 1 or more, not '2'"),
        ({"grace_period_seconds": -1}, "ServerConf: grace_period_seconds takes a number of 0 or more, not -1"),
        ({"limits": {"head_timeuot": 1}}, "ServerConf: unknown key 'head_timeuot' (did you mean 'head_timeout'?)"),
        ({"limits": {"head_timeout": "x"}}, "ServerConf: head_timeout takes a number of 0 or more, not 'x'"),
        ({"workers": object()}, "ServerConf: "),
    ],
    ids=["text", "negative", "unknown", "limit", "object"],
)
def test_what_is_made_in_code_is_held_to_the_same(values, problem):
    server = Server(conf=ServerConf(**values))
    with pytest.raises(ConfError) as caught:
        server.bootstrap()
    assert str(caught.value).startswith(problem)


def test_limits_made_in_code_are_in_force():
    seen = []

    class Looks(HttpServerApp):
        def process_new_http(self, session):
            seen.append((session.limits.max_head, session.limits.max_fields))
            session.respond_error(404)

    server = Server(conf=ServerConf(runtime="threads", limits={"max_head": 3000, "max_fields": 7}))
    service = Service("a", Looks(), max_fields=9)
    service.add_tcp("127.0.0.1:0")
    server.add_service(service)
    runner = threading.Thread(target=server.run)
    runner.start()
    until(lambda: server.addresses.get("a"))
    host, _, port = server.addresses["a"][0].rpartition(":")
    with client((host, int(port))) as peer:
        peer.send(GET)
        assert peer.status() == 404
    server.shutdown()
    runner.join(20)
    assert seen == [(3000, 9)]


def test_a_server_of_nothing_is_not_run():
    with pytest.raises(LocalProtocolError, match="no services: add_service"):
        Server().run()


def test_what_is_no_service_is_not_added():
    with pytest.raises(TypeError, match=r"a server runs a Service\(name, app\) or a BackgroundService"):
        Server().add_service(Response(200))
