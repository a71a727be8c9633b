"""What a server says when nobody can hear it."""

from __future__ import annotations

import os
import sys

from sansio_pingora.cli import commands
from sansio_pingora.cli.output import say
from sansio_pingora_posix import Control


def test_nobody_reads(monkeypatch, caplog):
    unread, pipe = os.pipe()
    os.close(unread)
    control = Control()
    control.addresses = ["127.0.0.1:1", "127.0.0.1:2"]
    announcement = commands._Announcement(control, "origin")
    with open(pipe, "w") as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        announcement.set()
        say("goes nowhere, and fails no more")
    assert announcement.is_set()
    assert caplog.text.count("standard output cannot be written: [Errno 32] Broken pipe") == 1
