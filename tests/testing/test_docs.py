"""The page on testing runs as it is written: the tutorial finds its bug, and the mended server passes."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest

import pytest
from hypothesis import HealthCheck, Phase, settings

import sansio_pingora.testing as kit
from sansio_pingora.testing import stateful
from tests.pages import blocks, execute, page

PAGE = page("testing.md")
TOY, PROPERTY, MENDED, HTTP2, STATEFUL, MODELS, *REST = blocks(PAGE)
DIALOGUE, RECORDING, NETWORK, NETWORK_WITH_PROXY, SERVERS, FIXTURE, CONFTEST = REST


def found_by(names, most=400):
    quick = settings(max_examples=most, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    quick(names["test_cutting_never_matters"])()  # found, not shrunk


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # what is found is not shrunk here
def test_the_tutorial_finds_the_bug():
    names: dict = {}
    execute(TOY, names)
    execute(PROPERTY, names)
    with pytest.raises((AssertionError, ExceptionGroup)):
        found_by(names)


def test_the_mended_server_passes():
    names: dict = {}
    execute(TOY, names)
    execute(MENDED, names)
    names["Toy"] = names["Mended"]
    names["Mended"].__init__ = lambda self: setattr(self, "buffer", b"")
    execute(PROPERTY, names)
    found_by(names, 60)


def test_the_property_of_http2():
    names: dict = {}
    execute(PROPERTY.partition("@given")[0] + HTTP2, names)
    settings(max_examples=20, suppress_health_check=list(HealthCheck))(
        names["test_an_illegal_frame_ends_the_connection"]
    )()


def passes(case):
    case.settings = settings(
        case.settings, max_examples=8, stateful_step_count=10, suppress_health_check=list(HealthCheck)
    )
    result = unittest.TestResult()
    case("runTest").run(result)
    assert result.wasSuccessful(), result.failures + result.errors


def test_the_state_machine_is_short_and_passes():
    assert len(STATEFUL.strip().splitlines()) <= 25
    names: dict = {}
    execute("from sansio_pingora.session import ServerConnection\n" + STATEFUL, names)
    passes(names["TestSlow"])


def test_machines_for_implementations_of_ones_own_are_short_and_pass():
    assert len(MODELS.strip().splitlines()) <= 25
    names: dict = {}
    execute(MODELS, names)
    passes(names["TestHttp2Flow"])
    passes(names["TestOwnPool"])


def test_a_property_test_has_eight_lines_at_most():
    assert len(PROPERTY.strip().splitlines()) <= 8


def test_a_dialogue():
    execute(DIALOGUE, {})


def test_a_recording(capsys):
    execute(RECORDING, {})
    assert "def test_replayed():" in capsys.readouterr().out


@pytest.mark.parametrize("source", [NETWORK, NETWORK_WITH_PROXY], ids=["origin", "proxy"])
def test_the_network(source):
    execute(source, {})


def test_the_fixture(serve_app):
    names: dict = {}
    execute(FIXTURE, names)
    names["test_hello"](serve_app)


def test_the_fixture_without_the_entry_point(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(FIXTURE)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_servers():
    execute(SERVERS, {})


def test_all_public_names_are_in_the_table():
    table = PAGE.partition("## All names")[2]

    for names in (kit.__all__, stateful.__all__):
        assert not [name for name in names if f"`{name}`" not in table]


def test_a_target_of_ones_own():
    (target,) = blocks(page("fuzzing.md"))
    execute(target, {})
