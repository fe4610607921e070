"""Lines of a journal that somebody has edited stop no sink, and the rest of them reaches it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.files.file_lines import Unreadable
from sightline.sinks import make_sinks
from sightline.sinks.sound_records import SoundRecords
from sightline.sinks.syncing import Replay
from tests.sinks import attempts
from tests.sinks.all_sinks import settings
from tests.sinks.readers import jsonl, tensorboard, trackio

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own

PLACE = {"seq": 3, "attempt": 1, "step": 7, "k": 0}
COMMIT = {
    "type": "commit", **PLACE, "time": 5.0, "expected": 1, "reported": 1, "values": {"a": 1.5, "b": None},
    "nonfinite": {"b": "inf"}, "counts": {"a__count": 1}, "texts": {"t": "said"}, "missing": [2],
}  # fmt: skip
HISTOGRAM = {"type": "histogram", **PLACE, "key": "h", "edges": [0, 1.5, 2], "counts": [3, 0]}
SAMPLE = {
    "type": "sample", **PLACE, "table": "t", "recorded": 5, "ranked_by": "reward",
    "rows": [{"prompt": "p", "process": 0}],
}  # fmt: skip
STALL = {"type": "event", "event": "stall", "attempt": 1, "time": 5.0, "step": None, "waiting_for": [1]}
RUN = {"type": "run", "format": 1, "run_id": "x", "attempt": 1}


@pytest.mark.parametrize("record", [COMMIT, HISTOGRAM, SAMPLE, STALL, RUN])
def test_what_sightline_writes_stays_as_it_is(record: dict[str, Any]) -> None:
    sound = SoundRecords()
    given = copy.deepcopy(record)
    assert sound(given) is given
    assert (given, sound.odd) == (record, 0)


@pytest.mark.parametrize(
    ("record", "odd"),
    [
        (COMMIT, {"seq": "3"}), (COMMIT, {"seq": True}), (COMMIT, {"step": 1 << 63}),
        (COMMIT, {"values": []}), (COMMIT, {"type": ["commit"]}), (RUN, {"run_id": 7}),
        (HISTOGRAM, {"edges": [0, 1]}), (HISTOGRAM, {"edges": [0, "1", 2]}), (HISTOGRAM, {"counts": [1, -1]}),
        (HISTOGRAM, {"key": None}), (HISTOGRAM, {"edges": [0], "counts": []}), (HISTOGRAM, {"step": None}),
        (SAMPLE, {"table": {}}), (SAMPLE, {"rows": "all"}), (SAMPLE, {"step": 0.5}),
    ],
)  # fmt: skip
def test_a_line_that_tells_nothing_is_left_out(record: dict[str, Any], odd: dict[str, Any]) -> None:
    sound = SoundRecords()
    assert sound({**record, **odd}) is None
    assert sound.odd == 1


@pytest.mark.parametrize(
    ("record", "odd", "left"),
    [
        (COMMIT, {"time": "noon"}, {"time": 4.0}),
        (COMMIT, {"time": 1e300}, {"time": 4.0}),
        (COMMIT, {"attempt": "1"}, {"attempt": 2}),
        (COMMIT, {"k": "0"}, {"k": 0}),
        (COMMIT, {"values": {"a": 1, "b": "1", "c": True, "d": [1]}}, {"values": {"a": 1}}),
        (COMMIT, {"nonfinite": {"b": "huge"}}, {"nonfinite": {}}),
        (COMMIT, {"nonfinite": 3}, {"nonfinite": {}}),
        (COMMIT, {"texts": {"t": 7, "u": "v"}}, {"texts": {"u": "v"}}),
        (COMMIT, {"missing": [1, "2"]}, {"missing": [1]}),
        (SAMPLE, {"rows": [3, {"a": 1}], "recorded": None}, {"rows": [{"a": 1}], "recorded": 1}),
        (SAMPLE, {"ranked_by": ["score"]}, {"ranked_by": "reward"}),
        (STALL, {"time": "noon"}, {"time": None}),
    ],
)
def test_of_any_other_what_is_sound_stays(
    record: dict[str, Any], odd: dict[str, Any], left: dict[str, Any]
) -> None:
    sound = SoundRecords()
    sound({**COMMIT, "time": 4.0, "attempt": 2})
    found = sound({**record, **odd})
    assert found is not None
    assert sound.odd == 1
    assert {name: found.get(name) for name in record} == {**record, **left}


def test_no_sink_stops_at_an_odd_line(tmp_path: Path) -> None:
    """All that keep files in this process, by their own readers; and it is counted."""
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(9):
            sl.scalar(a=float(step))
            sl.text(said="so")
            sl.histogram("h", [1.0, 2.0])
            sl.sample("rows", prompt=["p"])
            run.commit(step)
    odd: list[tuple[str, dict[str, Any]]] = [
        ("commit", {"time": None}), ("commit", {"values": {"a": "1", "b": 2.0}}),
        ("commit", {"texts": {"said": 7}}), ("commit", {"nonfinite": "x", "attempt": []}),
        ("histogram", {"edges": None}), ("sample", {"rows": [7]}), ("sample", {"table": 1}),
    ]  # fmt: skip
    lines = []
    for line in map(orjson.loads, (run.dir / "metrics.jsonl").read_bytes().splitlines()):
        kind, changed = odd[line["step"] - 1] if 0 < (line.get("step") or 0) <= len(odd) else ("", {})
        lines.append(orjson.dumps(line | changed if line["type"] == kind else line))
    (run.dir / "metrics.jsonl").write_bytes(b"\n".join([*lines, b""]))
    names = ("jsonl", "tensorboard", "trackio", "mlflow")
    database = tmp_path / "mlflow.db"
    for sink in make_sinks(names, vars(settings(database, *names))):
        replay = Replay(run.dir, sink)
        with attempts.warnings_said() as said:
            list(replay.run())
        assert not [each for each in said if "fails" in each]
        assert (replay.handed.commits, replay.unreadable) == (9, Unreadable(odd=len(odd)))
    rows = jsonl.rows(run.dir / "rows.jsonl")
    assert [row["step"] for row in rows] == list(range(9))
    assert rows[1]["time"] == rows[0]["time"]
    assert "a" not in rows[2]
    assert rows[2]["b"] == 2.0
    assert len(tensorboard.seqs(run.dir / "tensorboard")) == 9
    assert len(trackio.seqs(trackio.rows(run.dir / "trackio"))) == 9
