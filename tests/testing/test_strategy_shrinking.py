"""What is found becomes small: the least that has the fault, whatever was found first."""

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as hypothesis_strategies

from sansio_pingora.testing import strategies as st

SEARCH = settings(
    max_examples=500, phases=[Phase.generate, Phase.shrink], database=None, suppress_health_check=list(HealthCheck)
)
HOST = b"Host: example.com\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


def least(strategy, fails, start):
    return find(strategy, fails, settings=SEARCH, random=Random(start))


class Hasty:
    """Takes the body that came with the head for all of it, as the toy of the tutorial."""

    def __init__(self):
        self.buffer = b""

    def receive(self, data):
        self.buffer += data
        out = b""
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            self.buffer = rest[length:]
            out += head.partition(b"\r\n")[0] + b"\n"
        return out


def differs(pair):
    raw, cuts = pair
    toy = Hasty()
    return b"".join(map(toy.receive, cuts(raw))) != Hasty().receive(raw)


@pytest.mark.parametrize("start", range(4))
def test_the_case_of_the_tutorial_has_two_requests_at_most_and_no_needless_field(start):
    raw, _ = least(hypothesis_strategies.tuples(st.http1_pipelines(), st.cuts()), differs, start)

    first, _, rest = raw.partition(b"\r\n\r\n")
    assert sorted(first.split(b"\r\n"))[-2:] == [b"GET / HTTP/1.1", b"Host: example.com"]
    assert first.count(b"\r\n") == 2
    assert rest[1:] in (GET, b"\n\r\n", b"\r\n\r\n") or rest == b"\r\n\r\n"


@pytest.mark.parametrize("start", range(3))
def test_a_pipeline_keeps_what_it_needs(start):
    assert least(st.http1_pipelines(), lambda raw: raw.count(b" HTTP/1.1\r\n") == 2, start) == GET * 2
    field = least(st.http1_pipelines(), lambda raw: b"\r\ncookie:" in raw.lower(), start)
    assert field in (GET.replace(HOST, HOST + b"COOKIE:\r\n"), GET.replace(HOST, b"COOKIE:\r\n" + HOST))
    assert least(st.http1_pipelines(), lambda raw: b"POST" in raw, start) == GET.replace(b"GET", b"POST")


@pytest.mark.parametrize("start", range(3))
def test_a_conversation_keeps_what_it_needs(start):
    talk = least(st.websocket_conversations(), lambda talk: len(talk.messages("server")) == 2, start)
    assert len(talk.says) == 2
    assert {said.data for said in talk.says} <= {b"", ""}

    closed = least(st.websocket_conversations(), lambda talk: talk.says[-1:] and talk.says[-1].kind == "close", start)
    assert repr(closed.says) == "[Says('client', 1000, 'close')]"


@pytest.mark.parametrize("start", range(3))
def test_frames_keep_what_they_need(start):
    def pings(frames):
        return sum(frame[0] & 15 == 9 for frame in frames) == 2

    frames = least(st.websocket_frames(server=False, amid=False), pings, start)
    assert frames == [b"\x89\x00"] * 2
