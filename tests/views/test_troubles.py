"""What befell a run, by its journal."""

from __future__ import annotations

from pathlib import Path

import orjson

from sightline.support.wording import moment
from sightline.views.history import History
from sightline.views.troubles import unended


def test_attempts_before_the_last_that_no_line_ends_were_killed(tmp_path: Path) -> None:
    """One that was killed, one that has ended, and one that may go on."""
    run = {"type": "run", "format": 1, "run_id": "r1", "name": "r", "processes": 1, "aliases": {}}
    commit = {"type": "commit", "k": 0, "expected": 1, "reported": 1, "values": {"a": 1.0}}
    lines = [
        {**run, "attempt": 1, "started": 10.0, "starts": [[1, 0, None]], "gaps": []},
        {**commit, "seq": 1, "attempt": 1, "step": 0, "time": 20.0},
        {**run, "attempt": 2, "started": 30.0, "starts": [[1, 0, None], [2, 1, 0]], "gaps": []},
        {"type": "event", "event": "finish", "missing": [], "attempt": 2, "time": 40.0},
        {**run, "attempt": 3, "started": 50.0, "starts": [[1, 0, None], [2, 1, 0], [3, 1, 0]], "gaps": []},
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in lines))
    history = History(tmp_path)
    history.update()
    (found,) = unended(history)
    assert found[:2] == (1, 20.0)
    assert found.text == f"attempt 1 ended without saying so; last heard {moment(20.0, now=20.0)}"
