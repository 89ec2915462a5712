"""Progress on stderr: how fast it goes, and how much longer."""

from __future__ import annotations

import pytest

from gradtrace.pipeline import progress
from gradtrace.pipeline.progress import Rate


def test_what_was_there_before_took_no_time() -> None:
    now = [100.0]
    rate = Rate(1000, lambda: now[0])
    assert str(rate) == "0/1000"
    rate.add(400)  # a dump that goes on
    assert str(rate) == "400/1000"
    now[0] += 50
    rate.add(500)
    assert str(rate) == "500/1000, 2/s, 0:04:10 left"
    now[0] += 3950
    rate.add(800)
    assert str(rate) == "800/1000, 0.1/s, 0:33:20 left"
    rate.add(1000)
    assert str(rate).endswith("0:00:00 left")


def test_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress("dump", 10) as advance:
        for done in range(5):
            advance(done)
        assert capsys.readouterr() == ("", "")
        monkeypatch.setattr(progress, "EVERY", 0.0)
        advance(5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dump 5/10, ")
    assert captured.err.endswith(" left\n")
    assert captured.err.count("\n") == 1


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.progress("dump", 10) as advance:
        advance(3)
        advance(4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "4/10, " in captured.err


def test_slow_first_samples_are_forgotten() -> None:
    now = [0.0]
    rate = Rate(1000, lambda: now[0])
    for done in range(101):
        rate.add(done)
        now[0] += 60 if done < 20 else 2
    assert str(rate).startswith("100/1000, 0.5/s, ")
