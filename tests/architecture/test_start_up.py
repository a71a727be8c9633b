"""What a command does not need is not loaded for it: by what stands in ``sys.modules``, never by a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.tree import ADAPTERS, ROOT

PATHS = [str(ROOT), *(str(path) for path in ADAPTERS.iterdir())]
LAZY = ["sansio_pingora.proxy", "sansio_pingora.server", "sansio_pingora.tls", "sansio_pingora_posix"]
# It ends in main(): every module of a command that listens where nobody can is loaded, and none of another.
NOWHERE = ["--listen", "unix:/nonexistent/socket"]
HELP = {
    "anyio",
    "asyncio",
    "gevent",
    "ssl",
    "yaml",
    "sansio_pingora.machine",
    "sansio_pingora.apps",
    "sansio_pingora.wire",
}
SERVING = {
    "yaml",
    "sansio_pingora.balancing",
    "sansio_pingora.cli.serving",
    "sansio_pingora.server.conf",
    "sansio_pingora.testing",
}
PLAIN = {*SERVING, "ssl", "sansio_pingora.tls.layer", "sansio_pingora.proxy.exchange", "sansio_pingora_posix.handover"}


def loaded(code: str) -> set[str]:
    program = f"import sys; sys.path[:0] = {PATHS!r}\n{code}\nprint('LOADED', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    ("argv", "strangers"),
    [
        (["version"], HELP),
        (["origin", *NOWHERE, "--runtime", "threads"], {*PLAIN, "anyio", "asyncio", "gevent"}),
        (
            ["proxy", *NOWHERE, "--to", "127.0.0.1:1", "--runtime", "threads"],
            {*SERVING, "anyio", "asyncio", "gevent"} - {"sansio_pingora.balancing"},  # its upstreams take turns
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_loads_nothing_of_the_others(argv, strangers):
    modules = loaded(f"from sansio_pingora.cli import main; main({argv!r})")

    assert modules & strangers == set()


def test_a_lazy_package_loads_nothing_and_has_every_name():
    checks = """
from importlib import import_module
for package in map(import_module, NAMES):
    early = [name for name in sys.modules if name.startswith(f"{package.__name__}.")]
    assert early == [], early
    assert not hasattr(package, "no_such_name")
for package in map(import_module, NAMES):
    for name in package.__all__:
        getattr(package, name)
"""
    loaded(checks.replace("NAMES", repr(LAZY)))
