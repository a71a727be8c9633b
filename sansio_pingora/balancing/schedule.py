"""Turns shared out by weight, as evenly as whole turns can be."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import gcd

__all__ = ["MAX_TURNS", "smooth_schedule"]

MAX_TURNS = 16_384
"""In one round. Weights that need more are rounded; making a round of as many takes about 20 ms."""


def smooth_schedule(weights: Sequence[int]) -> Sequence[int]:
    """One round of turns: whose it is, as indexes of *weights*.

    After any number of turns each has had its exact share, rounded up or down (the "proportionate progress" of
    Baruah, Cohen, Plaxton and Varvel): a turn has the window in which that stays true, and the one whose window ends
    first goes first. nginx's smooth round robin comes close to that, and Pingora gives whole blocks of turns.
    """
    weights = _reduced(weights)
    total = sum(weights)
    if total == len(weights):
        return range(total)
    opening: list[list[tuple[int, int]]] = [[] for _ in range(total)]  # by the turn when their window opens
    opening[0] = [(0, index) for index in range(len(weights))]
    ready: list[tuple[int, int, int]] = []  # end of the window, whose, how many it had before
    turns = []
    for turn in range(total):
        for had, index in opening[turn]:
            heappush(ready, (_ceil((had + 1) * total, weights[index]), index, had))
        _, index, had = heappop(ready)
        turns.append(index)
        opens = (had + 1) * total // weights[index]
        if opens <= turn + 1:
            opens = turn + 1
        if had + 1 < weights[index]:
            opening[opens].append((had + 1, index))
    return turns


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _reduced(weights: Sequence[int]) -> Sequence[int]:
    total = sum(weights)
    divisor = gcd(*weights)
    if total // divisor > MAX_TURNS:
        weights = [max(1, weight * MAX_TURNS // total) for weight in weights]
        divisor = gcd(*weights)
    return [weight // divisor for weight in weights]
