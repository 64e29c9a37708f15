"""The one line that says how far a command is, on a terminal and in a log."""

from __future__ import annotations

import io
import sys

import pytest
from terminal import Terminal

from tinyquant.cli import progress
from tinyquant.cli.progress import ProgressLine


def shown(written: str) -> list[str]:
    """The lines that a terminal would show: what comes after a carriage return is written over the line."""
    lines = []
    for line in written.split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


def test_a_terminal_shows_the_newest_text_and_nothing_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    say = ProgressLine(every=1000)
    say("training a network for a long time")
    say("epoch 2", detail=True)
    assert shown(screen.getvalue()) == ["epoch 2"]
    say("done", last=True)
    assert shown(screen.getvalue()) == ["done", ""]


def test_a_cleared_line_is_empty_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never shown, or was the last line, is not cleared: a report above would lose its first line."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    say = ProgressLine()
    say.clear()
    assert screen.getvalue() == ""
    say("still checking")
    say.clear()
    assert shown(screen.getvalue()) == [""] and screen.getvalue().endswith("\r")
    before = screen.getvalue()
    say.clear()
    assert screen.getvalue() == before
    say("done", last=True)
    before = screen.getvalue()
    say.clear()
    assert screen.getvalue() == before


def test_a_log_gets_a_line_now_and_then_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    say = ProgressLine(every=10)
    say("first")
    now[0] = 109.0
    say("too soon")
    now[0] = 110.0
    say("a detail", detail=True)
    say("second")
    say("third is the last", last=True)
    say.clear()
    assert log.getvalue().splitlines() == ["first", "second", "third is the last"]
