from __future__ import annotations

import os

import pytest

from sansio_pingora.limits import Limits
from sansio_pingora_posix import Control, SharedPolicy, Tally


def test_lanes_of_several_workers():
    tally = Tally(2, 2)
    assert tally.least_beside(0, 0) is None
    tally.put(0, 0, 7)
    tally.put(0, 1, 5)
    tally.put(1, 1, 3)
    assert tally.least_beside(0, 0) == 3
    assert tally.least_beside(1, 1) == 5
    tally.leave(1)
    assert tally.least_beside(0, 0) == 5
    tally.leave(0, 1)
    assert tally.least_beside(0, 0) is None


def test_a_policy_tells_what_it_has_and_waits_for_others():
    control = Control()
    tally = Tally(2, 1)
    control.place = tally, 1
    policy = control.accept_policy(Limits())
    assert isinstance(policy, SharedPolicy)
    policy.accepted(0.0)
    assert tally.least_beside(0, 0) == 1
    policy.look_around(0.0)
    assert policy.accepting
    tally.put(0, 0, 0)
    policy.accepted(0.0)
    policy.look_around(0.0)
    assert not policy.accepting
    policy.closed(0.0)
    assert tally.least_beside(0, 0) == 1
    policy.stop()
    policy.closed(0.0)
    assert tally.least_beside(0, 0) is None


def test_lanes_share_the_ceilings():
    control = Control()
    limits = Limits(max_connections=5, accept_rate=3.0)
    policies = [control.accept_policy(limits, lane, 2) for lane in (0, 1)]
    for policy, most in zip(policies, (3, 2), strict=True):
        for second in range(most):
            assert policy.accepting
            policy.accepted(float(second))
            policy.handle_timeout(second + 0.999)
        assert not policy.accepting


@pytest.mark.parametrize(
    ("most", "parts"), [(2, [[1, 0], [1, 0], [0, 0]]), (9, [[2, 1], [2, 1], [2, 1]]), (10, [[2, 2], [2, 1], [2, 1]])]
)
def test_lanes_of_workers_share_the_ceilings(most, parts):
    tally = Tally(3, 2)
    control = Control()
    limits = Limits(max_connections=most, accept_rate=6.0)
    for worker, of_worker in enumerate(parts):
        control.place = tally, worker
        for lane, part in enumerate(of_worker):
            policy = control.accept_policy(limits, lane, 2)
            for second in range(part):
                assert policy.accepting
                policy.accepted(float(second))  # one a second
                assert policy.deadline == second + 1.0
                policy.handle_timeout(second + 1.0)
            assert not policy.accepting
    # Nobody leaves a client to one that takes none.
    assert tally.least_beside(0, 0) == min(part for of_worker in parts for part in of_worker if part)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads of pytest-xdist
def test_processes_see_each_other():
    tally = Tally(2, 1)
    child = os.fork()
    if child == 0:
        tally.put(1, 0, 42)
        os._exit(0)
    os.waitpid(child, 0)
    assert tally.least_beside(0, 0) == 42
