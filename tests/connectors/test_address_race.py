"""Happy Eyeballs (RFC 8305): which address, and when."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.connectors import AddressRace
from sansio_pingora.connectors.address_race import interleaved
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.transport import SocketAddr

REFUSED = Error(ErrorType.CONNECT_REFUSED)
addresses = st.lists(
    st.integers(0, 40).map(lambda number: SocketAddr(f"::{number:x}" if number % 3 else f"10.0.0.{number}", 80)),
    max_size=24,
)


def of(*hosts):
    return [SocketAddr(host, 80) for host in hosts]


def test_the_families_take_turns_and_the_resolver_s_first_begins():
    assert interleaved(of("::1", "::2", "::3", "10.0.0.1", "10.0.0.2")) == of(
        "::1", "10.0.0.1", "::2", "10.0.0.2", "::3"
    )
    assert interleaved(of("10.0.0.1", "10.0.0.2", "::1")) == of("10.0.0.1", "::1", "10.0.0.2")
    assert interleaved(of("10.0.0.1", "10.0.0.1")) == of("10.0.0.1")
    assert interleaved([]) == []


@given(addresses)
def test_interleaving_keeps_every_address_once_and_the_order_within_a_family(found):
    order = interleaved(found)

    assert sorted(map(str, order)) == sorted({str(address) for address in found})
    for six in (True, False):
        mine = [address for address in dict.fromkeys(found) if (":" in address.host) is six]
        assert [address for address in order if (":" in address.host) is six] == mine


def test_a_slow_address_has_a_quarter_of_a_second_alone():
    race = AddressRace(of("::1", "10.0.0.1"))
    assert race.start(5.0) == SocketAddr("::1", 80)
    assert race.start(5.0) is None
    assert race.deadline == 5.25
    assert race.start(5.249) is None

    assert race.start(5.25) == SocketAddr("10.0.0.1", 80)
    assert race.deadline == math.inf
    assert not race.lost
    assert race.tried == 2


def test_one_that_fails_is_followed_at_once():
    race = AddressRace(of("::1", "10.0.0.1"))
    race.start(5.0)
    race.failed(REFUSED, 5.01)
    assert race.start(5.01) == SocketAddr("10.0.0.1", 80)
    race.failed(REFUSED, 5.02)

    assert race.lost
    assert race.error is REFUSED


def test_nobody_chooses_how_long_we_try():
    race = AddressRace(of(*(f"10.0.{number}.1" for number in range(200))))
    tried = 0
    while race.start(0.0) is not None:
        race.failed(REFUSED, 0.0)
        tried += 1

    assert tried == 16
    assert race.lost


class RaceModel(RuleBasedStateMachine):
    """Against a list of what is to be tried, and the time of the last attempt."""

    @initialize(found=addresses)
    def begin(self, found):
        self.now = 0.0
        self.race = AddressRace(found)
        self.left = interleaved(found)[:16]
        self.running = 0
        self.next = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.25, 1.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def start(self):
        address = self.race.start(self.now)
        if self.left and self.now >= self.next:
            assert address == self.left.pop(0)
            self.running += 1
            self.next = self.now + 0.25
        else:
            assert address is None

    @precondition(lambda self: self.running)
    @rule()
    def fail(self):
        self.race.failed(REFUSED, self.now)
        self.running -= 1
        self.next = self.now

    @invariant()
    def agrees(self):
        assert self.race.lost is (not self.left and not self.running)
        assert (self.race.deadline == math.inf) is (not self.left)
        if self.left and self.race.tried:
            assert self.race.deadline == self.next


TestRace = RaceModel.TestCase
