"""The same line of many processes is one line, and what one process says twice is two."""

from __future__ import annotations

import io
from pathlib import Path

from sightline.run_logs.folding import folded
from sightline.run_logs.merging import RunLogs
from sightline.run_logs.showing import Shower
from tests.run_logs.written import S, Written


def shown(run: Path) -> list[str]:
    logs = RunLogs([run])
    shower = Shower(io.StringIO(), lambda: logs.sizes)
    return ["".join(shower.shown(each)).split(" ", 2)[2].rstrip("\n") for each in folded(logs.lines())]


def test_identical_lines_close_together_are_one(tmp_path: Path) -> None:
    for process in range(64):
        log = Written(tmp_path, process, processes=64)
        log.say(S + process, "ready", fields={"n": 1}).say(S + 100 + process, "ready", fields={"n": 1})
        if process in (0, 4, 5):
            log.say(2 * S + process, "some")
        log.say(60 * S * (process + 1), "far apart").write()
    lines = shown(tmp_path)
    assert lines[:3] == [
        "INFO talk: ready  n=1  ×64 processes",
        "INFO talk: ready  n=1  ×64 processes",
        "INFO talk: some  ×3 processes 0,4-5",
    ]
    assert lines[3:] == [f"[p{process}] INFO talk: far apart" for process in range(64)]


def test_a_traceback_is_indented_and_hostile_lines_stay_lines(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.say(1, "bad\x1b[2J\n11-26 forged\u202e", "ERROR", "a\nb", exception="Traceback:\n  oops")
    assert shown(log.write()) == [
        "ERROR a\n    | b: bad\\x1b[2J\n    | 11-26 forged\\u202e\n    | Traceback:\n    |   oops"
    ]
