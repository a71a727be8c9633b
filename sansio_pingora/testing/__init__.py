"""Tools to test HTTP code with: strategies, dialogues, and a deterministic network.

``strategies`` needs hypothesis (``pip install 'sansio-pingora[testing]'``); it is loaded by
``from sansio_pingora.testing import strategies`` and by nothing else.
"""

from sansio_pingora.testing.dialogue import Dialogue, DialogueMismatch
from sansio_pingora.testing.driver import Driver
from sansio_pingora.testing.faults import ALL_FAULTS
from sansio_pingora.testing.feeding import cut_everywhere, drain, feed
from sansio_pingora.testing.filter_calls import FilterCancelled, sleep
from sansio_pingora.testing.link import End, LinkProfile
from sansio_pingora.testing.oracles import BoundedMemory, NoTimerlessWait, Oracle, Termination
from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.speaker import Raw
from sansio_pingora.testing.world import OracleBroken, Weather, World

__all__ = [
    "ALL_FAULTS",
    "BoundedMemory",
    "Dialogue",
    "DialogueMismatch",
    "Driver",
    "End",
    "FilterCancelled",
    "LinkProfile",
    "NoTimerlessWait",
    "Oracle",
    "OracleBroken",
    "Random",
    "Raw",
    "Termination",
    "Weather",
    "World",
    "cut_everywhere",
    "drain",
    "feed",
    "sleep",
]
