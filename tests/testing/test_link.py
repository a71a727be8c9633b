from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.testing import End, LinkProfile, Weather, World

profiles = st.builds(
    LinkProfile,
    latency=st.sampled_from([0.0, 0.01, 0.3]),
    jitter=st.sampled_from([0.0, 0.05]),
    bandwidth=st.sampled_from([1e3, 1e6, 1e9]),
    segment=st.sampled_from([1, 100, 1460]),
    cuts=st.sampled_from([0, 10, 100]),
    read_size=st.sampled_from([7, 65536]),
    send_buffer=st.sampled_from([1, 500, 65536]),
    receive_buffer=st.sampled_from([1, 300, 65536]),
    high=st.sampled_from([0, 1000]),
    low=st.just(0),
)


class Peer:
    """Remembers everything that its end tells it, in order."""

    def __init__(self):
        self.data = b""
        self.told = []
        self.end: End | None = None

    def accept(self, end):
        self.connected(end)

    def connected(self, end):
        self.end = end
        end.owner = self
        end.set_reading(True)

    def refused(self, error):
        self.told.append(error)

    def received(self, data):
        assert data
        self.data += data
        self.told.append(len(data))

    def ended(self):
        self.told.append("eof")

    def lost(self, error):
        self.told.append("lost")

    def progressed(self):
        pass


def joined(profile, seed=0):
    world = World(seed, Weather((profile,)))
    near, far = Peer(), Peer()
    world.listen("h:1", far)
    world.client("h:1", near)
    world.run()
    return world, near, far


@given(profiles, st.lists(st.binary(min_size=1, max_size=400), max_size=8), st.integers(0, 1000))
def test_bytes_arrive_once_and_in_order_and_the_end_behind_them(profile, pieces, seed):
    world, near, far = joined(profile, seed)

    for piece in pieces:
        near.end.write(piece)
        far.end.write(piece[::-1])
    near.end.shut()
    far.end.shut()
    world.run()

    assert far.data == b"".join(pieces)
    assert near.data == b"".join(piece[::-1] for piece in pieces)
    assert far.told[-1] == near.told[-1] == "eof"
    assert near.told.count("eof") == 1
    assert near.end.unsent == far.end.unsent == 0


@given(profiles, st.binary(min_size=1, max_size=3000), st.floats(0, 1), st.integers(0, 1000))
def test_a_reset_loses_only_what_had_not_landed(profile, data, after, seed):
    world, near, far = joined(profile, seed)
    near.end.write(data)
    world.run(world.now + after)
    landed = len(far.data) + far.end.unread

    near.end.abort()
    world.run()

    assert data.startswith(far.data)
    assert len(far.data) >= landed
    assert far.told[-1] == "lost"
    assert far.told.count("lost") == 1
    assert "eof" not in far.told


def test_what_had_landed_can_be_read_after_a_reset():
    world, near, far = joined(LinkProfile(read_size=4))
    far.end.set_reading(False)
    near.end.write(b"0123456789")
    world.run()
    near.end.abort()
    world.run()
    assert far.told == []

    far.end.set_reading(True)
    world.run()

    assert far.told == [4, 4, 2, "lost"]


def test_a_reset_is_noticed_by_who_waits_to_write():
    world, near, far = joined(LinkProfile(send_buffer=1, receive_buffer=10))
    far.end.set_reading(False)
    near.end.set_reading(False)
    far.end.write(b"x" * 100)
    world.run()

    near.end.abort()
    world.run()

    assert far.told == ["lost"]


def test_a_write_after_a_reset_is_told_once():
    world, near, far = joined(LinkProfile())
    far.end.set_reading(False)
    near.end.abort()
    world.run()

    far.end.write(b"x")
    far.end.write(b"y")
    world.run()

    assert far.told == ["lost"]


def test_closing_with_unread_bytes_is_a_reset():
    world, near, far = joined(LinkProfile())
    near.end.set_reading(False)
    far.end.write(b"late")
    world.run()

    near.end.close()
    world.run()

    assert far.told == ["lost"]


def test_closing_delivers_what_was_written_first():
    world, near, far = joined(LinkProfile(receive_buffer=3))

    near.end.write(b"last words")
    near.end.close()
    world.run()

    assert far.data == b"last words"
    assert far.told[-1] == "eof"


def test_bytes_for_a_closed_end_are_answered_with_a_reset():
    world, near, far = joined(LinkProfile())
    near.end.close()
    world.run()

    far.end.write(b"anybody?")
    world.run()

    assert far.told == ["eof", "lost"]


def test_the_other_direction_goes_on_after_a_half_close():
    world, near, far = joined(LinkProfile())
    near.end.shut()
    world.run()

    far.end.write(b"answer")
    world.run()

    assert far.told == ["eof"]
    assert near.data == b"answer"


@given(st.integers(1, 500), st.integers(1, 500))
def test_no_more_flies_and_waits_than_the_window_holds(window, size):
    world, near, far = joined(LinkProfile(receive_buffer=window, send_buffer=50))
    far.end.set_reading(False)

    near.end.write(b"x" * size)
    world.run()

    assert far.end.unread == min(window, size)
    assert near.end.unsent == max(0, size - window)
    assert near.end.backlog == max(0, size - window - 50)


def test_bandwidth_and_latency_take_their_time():
    world, near, far = joined(LinkProfile(latency=0.5, bandwidth=100.0))
    began = world.now

    near.end.write(b"x" * 200)
    world.run()

    assert world.now - began == 2.5
    assert len(far.data) == 200
