"""What is recorded replays alike, in every world; what differs is shown, shortened, and printed as a test."""

import json
from dataclasses import replace
from http.client import HTTPConnection

import pytest

from sansio_pingora.apps import OriginApp
from sansio_pingora.cli import main
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.testing import OracleBroken
from sansio_pingora.testing.pytest_plugin import serving
from sansio_pingora.testing.recording import Recorded, Recorder, record
from sansio_pingora.testing.replaying import Unplayable, as_test, replay, results, shrink
from sansio_pingora.testing.scenario import run_seed
from sansio_pingora.testing.sim_proxy import random_proxy
from sansio_pingora.testing.transcripts import read_transcript
from sansio_pingora.upstreams import HttpPeer
from sansio_pingora.wire import Body, Header, RequestHeader, ResponseHeader
from tests.pages import execute

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Memory:
    """Transcripts by their names."""

    def __init__(self):
        self.lines = {}
        self.closed = []

    def begin(self, name):
        return MemorySink(self, name)


class MemorySink:
    def __init__(self, memory, name):
        self.memory, self.name = memory, name
        memory.lines[name] = []

    def write(self, line):
        self.memory.lines[self.name].append(line)

    def close(self):
        self.memory.closed.append(self.name)


def worlds(seeds):
    memory = Memory()
    for seed in seeds:
        recorder = Recorder(memory.begin)
        try:
            run_seed(seed, lambda world, case, at, to=recorder: Recorded(random_proxy(world, case, at), to))
        except OracleBroken:
            pass
        for name in list(memory.lines):
            memory.lines[f"{seed} {name}"] = memory.lines.pop(name)
    return memory.lines


def test_every_connection_of_a_world_replays_alike():
    kinds = set()
    for name, lines in worlds(range(25)).items():
        transcript = read_transcript(lines)
        if "why" in transcript.machine:
            continue
        kinds.add(transcript.machine["kind"])
        difference = replay(transcript)
        assert difference is None, f"{name}: {difference}"
    assert kinds == {"Http1Server", "Http1Client", "Http2Server", "Http2Client"}


def test_recording_changes_nothing():
    memory = Memory()
    recorded = run_seed(8, lambda world, case, at: Recorded(random_proxy(world, case, at), Recorder(memory.begin)))

    assert recorded.trace_hash == run_seed(8).trace_hash


def exchange(**options):
    """A connection that was recorded, and its transcript."""
    lines = []
    connection = Http1Server(0.0, Limits())
    record(connection, lines.append, **options)
    for now in (0.1, 1.0, 2.0):
        connection.receive_data(GET, now)
        connection.send(connection.stream, Header(ResponseHeader(200, [("Content-Length", "2")]), False), now)
        connection.send(connection.stream, Body(b"ok", True), now)
        connection.data_to_send()
    return connection, lines


def test_a_transcript_can_be_read_by_people():
    _, lines = exchange()

    assert json.loads(lines[1])["with"] == ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0.1]
    assert json.loads(lines[4]) == {
        "call": "data_to_send",
        "with": [],
        "result": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    }


def test_a_difference_is_shown_shortened_and_printed_as_a_test():
    lines = []
    connection = Http1Server(0.0, Limits())
    record(connection, lines.append)
    for at in range(8):
        connection.handle_timeout(at / 10)
    connection.receive_data(GET, 1.0)
    connection.send(1, Header(ResponseHeader(200, [("Content-Length", "2")]), False), 1.0)
    connection.invite_body(1, 1.0)
    connection.send(1, Body(b"ok", True), 1.0)
    connection.data_to_send()
    transcript = read_transcript(lines)
    steps = list(transcript.steps)
    steps[-1] = replace(steps[-1], result=steps[-1].result.replace("ok", "no"))

    difference = replay(replace(transcript, steps=tuple(steps)))

    text = str(difference)
    assert "Http1Server goes otherwise in step 13:" in text
    assert "  --> data_to_send()" in text
    assert "- bytes: 'no'" in text
    assert "+ bytes: 'ok'" in text
    short = shrink(difference)
    assert [step.call for step in short.steps] == ["receive_data", "send", "send", "data_to_send"]
    code = as_test(short)
    names: dict = {}
    execute(code, names)
    names["test_replayed"]()
    assert "connection.send(1, Header(ResponseHeader(200, [(b'Content-Length', b'2')]" in code


def test_a_test_that_is_printed_fails_when_something_changes():
    transcript = results(read_transcript(exchange()[1]))
    changed = replace(transcript.steps[-1], result="HTTP/1.1 500 Oh\r\n\r\n")
    names: dict = {}
    execute(as_test(replace(transcript, steps=(*transcript.steps[:-1], changed))), names)

    with pytest.raises(AssertionError):
        names["test_replayed"]()


def test_mistakes_of_the_caller_are_part_of_it():
    lines = []
    connection = Http1Server(0.0, Limits())
    record(connection, lines.append)
    with pytest.raises(LocalProtocolError):
        connection.send(1, Body(b"x"), 0.0)
    transcript = read_transcript(lines)

    assert "LocalProtocolError" in transcript.steps[0].result["raises"]
    assert replay(transcript) is None
    names: dict = {}
    execute(as_test(transcript), names)
    names["test_replayed"]()


def test_a_transcript_is_bounded():
    _, lines = exchange(max_bytes=1_000)

    assert json.loads(lines[-1])["call"] == "cut"
    assert sum(map(len, lines)) < 1_100
    assert replay(read_transcript(lines)) is None


def test_so_are_their_number():
    memory = Memory()
    recorder = Recorder(memory.begin, max_connections=2)
    for _ in range(3):
        connection = Http1Server(0.0, Limits())
        recorder.record(connection)
        recorder.record(connection)
        connection.transport_lost(None, 1.0)

    assert list(memory.lines) == ["000001-Http1Server.jsonl", "000002-Http1Server.jsonl"] == memory.closed


def test_a_recorder_that_is_closed_writes_no_more():
    memory = Memory()
    recorder = Recorder(memory.begin)
    connection = Http1Server(0.0, Limits())
    recorder.record(connection)
    recorder.close()
    connection.receive_data(GET, 0.0)

    assert len(memory.lines["000001-Http1Server.jsonl"]) == 1


def test_what_began_before_is_for_people_alone():
    lines = []
    client = Http1Client(Limits())
    client.open_stream(0.0)
    client.send(1, Header(RequestHeader("GET", "/", [("Host", "h")]), True), 0.0)
    record(client, lines.append)
    client.data_to_send()

    with pytest.raises(Unplayable, match="had been used before"):
        replay(read_transcript(lines))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "nothing in it"),
        (["{}"], "line 1"),
        (['{"version": 9, "machine": {}}'], "version 9"),
        (['{"version": 1, "machine": {}}', "x"], "line 2"),
    ],
)
def test_what_is_no_transcript_is_said(lines, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_transcript(lines)


@pytest.mark.parametrize("runtime", ["asyncio", "gevent", "threads"])
def test_a_proxy_is_recorded_on_each_runtime(runtime, tmp_path, serve_app, capsys):
    origin = serve_app(OriginApp(), "threads")
    peer = HttpPeer(origin)

    class Through(ProxyHttp):
        def upstream_peer(self, session, ctx):
            return peer

    with serving(Through(), runtime, record=str(tmp_path)) as control:
        client = HTTPConnection(control.addresses[0], timeout=20)
        client.request("POST", "/echo", body=b"to be kept")
        assert client.getresponse().read() == b"to be kept"
        client.close()

    files = sorted(tmp_path.iterdir(), key=lambda path: path.name.rpartition("-")[2])
    assert [path.name.rpartition("-")[2] for path in files] == ["Http1Client.jsonl", "Http1Server.jsonl"]
    for path in files:
        assert "to be kept" in path.read_text()
        assert main(["replay", str(path), "--test"]) == 0
        names: dict = {}
        execute(capsys.readouterr().out, names)
        names["test_replayed"]()


def test_the_command_shows_what_differs(tmp_path, capsys):
    lines = exchange()[1]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines).replace("200 OK", "201 OK"))

    assert main(["replay", str(path), "--shrink"]) == 1
    out = capsys.readouterr().out
    assert "#   --> data_to_send()" in out
    assert "calls lead there" in out
    assert main(["replay", str(tmp_path / "none")]) == 2


def test_the_command_prints_what_cannot_be_replayed(tmp_path, capsys):
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"version": 1, "machine": {"kind": "RawConnection", "why": "it is raw"}}\n{"call": "drain", "with": [1.0]}'
    )

    assert main(["replay", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "drain(1.0)\n"
    assert "cannot be replayed: it is raw" in err
