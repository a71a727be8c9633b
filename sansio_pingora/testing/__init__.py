"""Tools to test HTTP code with: strategies, dialogues, and a deterministic network.

``strategies`` needs hypothesis (``pip install 'sansio-pingora[testing]'``); it is loaded by
``from sansio_pingora.testing import strategies`` and by nothing else.
"""

from sansio_pingora.testing.dialogue import Dialogue, DialogueMismatch
from sansio_pingora.testing.driver import Driver
from sansio_pingora.testing.faults import ALL_FAULTS
from sansio_pingora.testing.feeding import cut_everywhere, drain, feed
from sansio_pingora.testing.filter_calls import FilterCancelled, sleep
from sansio_pingora.testing.filter_scripts import (
    FILTER_ACTS,
    Awaits,
    Blocks,
    FilterScript,
    Inserts,
    Raises,
    Replaces,
    Responds,
    Retries,
    Sleeps,
)
from sansio_pingora.testing.link import End, LinkProfile
from sansio_pingora.testing.oracles import BoundedMemory, NoTimerlessWait, Oracle, Termination
from sansio_pingora.testing.parties import Answers, Asks, ClientScript, OriginScript
from sansio_pingora.testing.planned import FAULT_KINDS, Fault
from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.speaker import Raw
from sansio_pingora.testing.weather import Weather
from sansio_pingora.testing.world import OracleBroken, World

__all__ = [
    "ALL_FAULTS",
    "FAULT_KINDS",
    "FILTER_ACTS",
    "Answers",
    "Asks",
    "Awaits",
    "Blocks",
    "BoundedMemory",
    "ClientScript",
    "Dialogue",
    "DialogueMismatch",
    "Driver",
    "End",
    "Fault",
    "FilterCancelled",
    "FilterScript",
    "Inserts",
    "LinkProfile",
    "NoTimerlessWait",
    "Oracle",
    "OracleBroken",
    "OriginScript",
    "Raises",
    "Random",
    "Raw",
    "Replaces",
    "Responds",
    "Retries",
    "Sleeps",
    "Termination",
    "Weather",
    "World",
    "cut_everywhere",
    "drain",
    "feed",
    "sleep",
]
