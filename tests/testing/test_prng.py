from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.testing import Random


def test_the_sequence_is_the_same_for_ever():
    rng = Random(1)

    drawn = [rng.bits() for _ in range(3)]

    # splitmix64's reference values for the seed 1.
    assert drawn == [0x910A2DEC89025CC1, 0xBEEB8DA1658EEC67, 0xF893A2EEFB32555E]


@given(st.integers(0, 2**64 - 1), st.integers(1, 1000))
def test_below_stays_below(seed, n):
    rng = Random(seed)

    assert all(0 <= rng.below(n) < n for _ in range(20))


@given(st.integers(), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_uniform_stays_between(seed, low, width):
    assert low <= Random(seed).uniform(low, low + width) <= low + width


def test_every_choice_comes_up():
    rng = Random(7)

    assert {rng.pick("abc") for _ in range(100)} == set("abc")
    assert {rng.between(1, 3) for _ in range(100)} == {1, 2, 3}
    assert {rng.weighted([(1, "a"), (5, "b")]) for _ in range(100)} == {"a", "b"}
    assert {rng.chance(0.5) for _ in range(100)} == {True, False}
    assert not any(rng.chance(0.0) for _ in range(100))
    assert all(rng.chance(1.0) for _ in range(100))


def test_data_has_its_size():
    assert [len(Random(3).data(size)) for size in (0, 1, 8, 13)] == [0, 1, 8, 13]


def test_a_fork_depends_on_seed_and_label_alone():
    drawn = Random(5)
    for _ in range(10):
        drawn.bits()

    assert drawn.fork("a").bits() == Random(5).fork("a").bits()
    assert Random(5).fork("a").bits() != Random(5).fork("b").bits()
    assert Random(5).fork("a").bits() != Random(6).fork("a").bits()
