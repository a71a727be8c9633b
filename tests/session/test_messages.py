"""Messages beside the stream of a custom protocol."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session import MAX_MESSAGES, CustomMessages, MessageFlow

FAULT = Error(ErrorType.READ_ERROR, "on purpose")


class Waiter:
    def __init__(self):
        self.told = []

    def resume(self, token, value, now):
        self.told.append((token, value))

    def fail(self, token, error, now):
        self.told.append((token, error))


def flow(**options):
    made = MessageFlow(lambda: stirred.append(1), **{"max_bytes": 100, **options})
    stirred = []
    return made, stirred


def test_messages_come_out_as_they_went_in():
    messages, stirred = flow()
    for text in (b"a", b"", b"bb"):
        messages.write(text)
    assert len(stirred) == 3
    assert [messages.read() for _ in range(4)] == [b"a", b"", b"bb", None]
    assert not messages.ended


@pytest.mark.parametrize(
    ("written", "room"),
    [([], 4), ([b"x"], 3), ([b""] * 4, 0), ([b"x" * 99], 3), ([b"x" * 100], 0), ([b"x" * 200], 0)],
    ids=lambda value: str(value)[:20],
)
def test_it_is_bounded_in_number_and_bytes(written, room):
    messages, _ = flow(max_messages=4)
    for message in written:
        messages.write(message)
    assert messages.room == room
    if not room:
        with pytest.raises(LocalProtocolError, match="room_for_more"):
            messages.write(b"x")
        messages.push(b"from the peer, which has sent it already")
    messages.read()
    assert messages.room >= 0


def test_pingoras_figure():
    messages, _ = flow()
    assert messages.room == MAX_MESSAGES == 128


def test_the_end():
    messages, _ = flow()
    messages.write(b"last")
    messages.finish()
    messages.finish(FAULT)
    with pytest.raises(LocalProtocolError, match="behind the end"):
        messages.write(b"more")
    assert not messages.ended
    assert messages.read() == b"last"
    assert messages.ended
    assert messages.read() is messages.error is None


def test_a_flow_that_broke():
    messages, _ = flow()
    messages.write(b"before")
    messages.finish(FAULT)
    messages.write(b"goes nowhere")
    assert messages.read() == b"before"
    with pytest.raises(Error):
        messages.read()


# ── who waits ────────────────────────────────────────────────────────────────────────


def test_a_message_that_is_there_need_not_be_waited_for():
    messages, _ = flow()
    messages.write(b"a")
    assert messages.next_message().begin(Waiter(), 1) == (0, b"a")
    messages.finish()
    assert messages.next_message().begin(Waiter(), 2) == (0, None)


def test_waiting_for_a_message():
    messages, _ = flow()
    waiter = Waiter()
    assert messages.next_message().begin(waiter, 1) == (1, None)
    messages.tell(0.0)
    messages.write(b"a")
    assert waiter.told == []  # not inside the call that wrote it
    messages.tell(0.0)
    messages.write(b"b")
    messages.tell(0.0)
    assert waiter.told == [(1, b"a")]
    assert messages.read() == b"b"


@pytest.mark.parametrize(("error", "told"), [(None, None), (FAULT, FAULT)])
def test_waiting_for_a_message_that_never_comes(error, told):
    messages, _ = flow()
    waiter = Waiter()
    messages.next_message().begin(waiter, 1)
    messages.finish(error)
    messages.tell(0.0)
    assert waiter.told == [(1, told)]


def test_what_came_before_it_broke_is_told_first():
    messages, _ = flow()
    waiter = Waiter()
    messages.next_message().begin(waiter, 1)
    messages.write(b"a")
    messages.finish(FAULT)
    messages.tell(0.0)
    assert waiter.told == [(1, b"a")]
    with pytest.raises(Error):
        messages.next_message().begin(waiter, 2)


def test_waiting_for_room():
    messages, _ = flow(max_messages=1)
    waiter = Waiter()
    assert messages.room_for_more().begin(waiter, 1) == (0, None)
    messages.write(b"a")
    assert messages.room_for_more().begin(waiter, 1) == (1, None)
    messages.tell(0.0)
    assert waiter.told == []
    messages.read()
    messages.tell(0.0)
    assert waiter.told == [(1, None)]


def test_room_is_not_waited_for_behind_the_end():
    messages, _ = flow(max_messages=1)
    messages.write(b"a")
    waiter = Waiter()
    messages.room_for_more().begin(waiter, 1)
    messages.finish()
    messages.tell(0.0)
    assert waiter.told == [(1, None)]
    assert messages.room_for_more().begin(waiter, 2) == (0, None)


def test_who_was_interrupted_takes_no_message_with_it():
    messages, _ = flow()
    waiter = Waiter()
    effect = messages.next_message()
    effect.begin(waiter, 1)
    steps = effect.__await__()
    assert next(steps) is effect
    with pytest.raises(KeyError):
        steps.throw(KeyError())
    messages.write(b"a")
    messages.tell(0.0)
    assert waiter.told == []
    assert messages.read() == b"a"


def test_who_was_interrupted_waits_for_no_room():
    messages, _ = flow(max_messages=1)
    messages.write(b"a")
    waiter = Waiter()
    effect = messages.room_for_more()
    effect.begin(waiter, 1)
    effect.cancel()
    messages.read()
    messages.tell(0.0)
    assert waiter.told == []


# ── who has taken what ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["reader", "writer"])
def test_each_end_has_one_owner(name):
    messages = CustomMessages(lambda: None, max_bytes=100)
    take, restore = getattr(messages, f"take_{name}"), getattr(messages, f"restore_{name}")
    taken = take()
    assert taken is (messages.inbound if name == "reader" else messages.outbound)
    assert take() is None
    with pytest.raises(LocalProtocolError):
        restore(messages.outbound if name == "reader" else messages.inbound)
    restore(taken)
    with pytest.raises(LocalProtocolError):
        restore(taken)
    assert take() is taken


class AFlow(RuleBasedStateMachine):
    """Against a plain queue: nothing is lost, doubled, or out of order, and who waits is told at the first chance."""

    def __init__(self):
        super().__init__()
        self.flow, self.stirred = flow(max_messages=3, max_bytes=10)
        self.model = deque()
        self.waiter = Waiter()
        self.waits_read = self.waits_room = False
        self.token = 0

    @precondition(lambda self: self.flow.room > 0 and not self.flow.finished)
    @rule(message=st.binary(max_size=6))
    def write(self, message):
        self.flow.write(message)
        self.model.append(message)

    @rule()
    def read(self):
        if not self.waits_read:
            assert self.flow.read() == (self.model.popleft() if self.model else None)

    @precondition(lambda self: not self.waits_read)
    @rule()
    def await_message(self):
        self.token += 1
        token, value = self.flow.next_message().begin(self.waiter, self.token)
        if self.model:
            assert (token, value) == (0, self.model.popleft())
        elif self.flow.finished:
            assert (token, value) == (0, None)
        else:
            self.waits_read = True

    @precondition(lambda self: not self.waits_room)
    @rule()
    def await_room(self):
        self.token += 1
        token, _ = self.flow.room_for_more().begin(self.waiter, self.token)
        self.waits_room = token != 0
        assert self.waits_room is (self.flow.room <= 0 and not self.flow.finished)

    @rule()
    def finish(self):
        self.flow.finish()

    @rule()
    def tell(self):
        expected = []
        if self.waits_read and (self.model or self.flow.finished):
            expected.append(self.model.popleft() if self.model else None)
            self.waits_read = False
        self.flow.tell(0.0)
        if self.waits_room and (self.flow.room > 0 or self.flow.finished):
            expected.append(None)
            self.waits_room = False
        assert [value for _, value in self.waiter.told] == expected
        self.waiter.told.clear()

    @invariant()
    def it_is_told_when_it_is_due(self):
        due = (self.waits_read and bool(self.model or self.flow.finished)) or (
            self.waits_room and (self.flow.room > 0 or self.flow.finished)
        )
        assert self.flow.due is due
        assert not due or self.stirred
        assert self.flow.ended is (self.flow.finished and not self.model)


TestAFlow = AFlow.TestCase
