"""The table of benchmarks judges: a figure above its bar fails, and what is left out is said."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from benchmarks.__main__ import main
from benchmarks.pairs import Figure, figure, left_out


def run(monkeypatch: pytest.MonkeyPatch, *figures: Figure) -> None:
    group = ModuleType("benchmarks.recording")
    group.__dict__["figures"] = lambda: iter(figures)
    monkeypatch.setitem(sys.modules, "benchmarks.recording", group)
    main(["recording"])


def test_a_figure_above_its_bar_ends_it_with_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, figure("fast", [0.9], 1.0), figure("  too slow", [1.2, 1.1, 1.3], 1.0))
    assert ended.value.code == "above its bar: too slow"
    assert "above" in capsys.readouterr().out


def test_what_cannot_be_measured_stands_there_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, figure("shown", [7.0]), left_out("a span / theirs", 0.8, "pip install theirs"))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "theirs" in line)
    assert "nan" not in line
    assert "pip install theirs" in line
