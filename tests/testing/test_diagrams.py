"""Tables are found where they are, drawn in every form, and counted while tests run."""

import json
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from sansio_pingora.cli import main
from sansio_pingora.http1.states import MOVES, Half, Move
from sansio_pingora.testing import tables
from sansio_pingora.testing.diagrams import FORMATS, draw, machines


def test_every_table_is_found():
    assert {table.name for found in machines().values() for table in found} >= {
        "http1.states.MOVES",
        "http2.states.LOCAL_END",
        "http2.states.RECEIVED",
        "server.phases.MOVES",
        "server.phases.SIGNALS",
        "websocket.states.MOVES",
    }


def test_a_new_table_appears_by_itself(monkeypatch):
    module = ModuleType("sansio_pingora.doors", "The life of a door.")
    door = IntEnum("Door", ["OPEN", "SHUT"], module=module.__name__)
    module.TURNS = {(door.OPEN, 7): door.SHUT}
    module.KEY = 7
    modules = tables._modules()
    monkeypatch.setattr(tables, "_modules", lambda: [*modules, module])

    assert draw(["doors"]) == (
        "doors.TURNS: Door\n  The life of a door.\n\n  OPEN\n    KEY -> SHUT\n  SHUT (nothing leaves it)\n"
    )


@pytest.mark.parametrize("name", machines())
def test_a_picture_names_every_state_and_input(name):
    root = ET.fromstring(draw([name], "svg"))
    words = " ".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))

    for table in machines()[name]:
        for (state, given), end in table.cells.items():
            assert state in words
            assert given in words
            assert end in words


def test_text_has_every_move_of_a_table():
    text = draw(["http1"])

    assert text.count(" -> ") == len(MOVES)
    assert "  IDLE\n    BEGIN -> HEAD\n" in text


def test_verdicts_are_a_grid():
    assert "OPEN                TAKE " in draw(["http2"])


@pytest.mark.parametrize("how", FORMATS)
def test_moves_that_tests_took_are_told(how):
    drawn = draw(["websocket"], how, {"websocket.states.MOVES": {"OPEN CLOSE": 1_234}})

    assert "CLOSE (1,234x)" in drawn
    assert "END (never)" in drawn


COUNTED = """
from sansio_pingora.http1.states import HEAD, IDLE
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import feed

def test_one_request():
    feed(ServerConnection(now=0.0), [b"GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n"])
"""


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "2"]], ids=["alone", "xdist"])
def test_pytest_counts_moves(tmp_path, workers, capsys):
    (tmp_path / "test_counted.py").write_text(COUNTED)
    root = str(Path(__file__).parents[2])
    plugin = ["-p", "no:cacheprovider", "-p", "sansio_pingora.testing.pytest_plugin"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, *workers, "--sansio-moves", "moves.json"],
        cwd=tmp_path,
        env={"PYTHONPATH": root, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr

    taken = json.loads((tmp_path / "moves.json").read_text())
    assert taken["http1.states.MOVES"]["HEAD HEAD_ONLY"] == 1
    assert main(["diagram", "http1", "--moves", str(tmp_path / "moves.json")]) == 0
    assert "HEAD_ONLY (1x) -> COMPLETE" in capsys.readouterr().out


def test_a_counted_table_is_a_table():
    counted = tables._Counted(ModuleType("x"), "MOVES", MOVES)

    assert counted == MOVES
    assert counted.get((Half.CLOSED, Move.END)) is None
    assert counted[Half.IDLE, Move.BEGIN] is counted.get((Half.IDLE, Move.BEGIN))
    assert counted.taken == {(Half.IDLE, Move.BEGIN): 2}


def test_the_command_names_the_machines_that_there_are(capsys):
    assert main(["diagram", "htp1"]) == 2
    assert "no machine 'htp1' has a table: http1, http2, server, websocket" in capsys.readouterr().err
    assert main(["diagram", "--format", "mermaid"]) == 0
    assert capsys.readouterr().out.startswith("stateDiagram-v2\n")
