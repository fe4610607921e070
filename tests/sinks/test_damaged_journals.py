"""Journals with holes, torn and odd lines, rewinds and long lines: what can be read of one reaches sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.sinks import SinkRun
from sightline.sinks import reader as room
from sightline.sinks.lineage import Lineage, Rewind, starts_of, suffix_of
from sightline.sinks.syncing import Replay

Place = tuple[str, int, str | None]  # of a line of a commit: its type, its seq and its key


class Kept:
    """Says what it has, and notes what it gets, call by call."""

    name = "kept"
    stores_at_close = False

    def __init__(self, stored: int | None, rewind: Rewind) -> None:
        self.rewind = rewind
        self.calls: list[list[Place]] = []
        self._stored = stored

    def open(self, run: SinkRun) -> int | None:
        return self._stored

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.calls.append(places(records))

    def close(self) -> None:
        pass


def places(records: Sequence[Mapping[str, Any]]) -> list[Place]:
    return [(each["type"], each["seq"], each.get("key")) for each in records if "seq" in each]


def written(random: Random) -> bytes:
    """A journal of some attempts, as it is before anything happens to it."""
    lines: list[dict[str, Any]] = []
    starts: list[list[int | None]] = []
    step = 0
    for seq in range(1, random.randint(2, 16)):
        if not starts or (step > 2 and random.random() < 0.12):
            after, step = (step - 1 if starts else None), random.randint(0, step)
            starts = [*starts, [len(starts) + 1, step, after]]
            lines.append(
                {"type": "run", "format": 1, "run_id": "x", "attempt": len(starts), "starts": starts}
            )
        place = {"seq": seq, "attempt": len(starts), "step": step, "k": 0}
        step += 1
        lines.append({"type": "commit", **place, "time": 1.0, "values": {"a" * random.randint(1, 60): seq}})
        if random.random() < 0.15:
            values = {"b" * random.choice([100, 2000, 9000]): [1]}
            lines.append({"type": "process_values", **place, "processes": [0], "values": values})
        lines += [
            {"type": "histogram", **place, "key": f"h{key}", "edges": [0, 1], "counts": [1]}
            for key in range(random.choice([0, 0, 1, 3]))
        ]
        if random.random() < 0.1:
            lines.append({"type": "event", "event": "e", "attempt": 1})
        if random.random() < 0.05:
            lines.append({"type": "commit", "seq": random.choice([1, seq, 99]), "step": "x"})
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)


def damaged(data: bytes, random: Random) -> bytes:
    """Behind its first line, which says whose it is."""
    first = data.index(b"\n") + 1
    for _ in range(random.randint(0, 3)):
        at = random.randrange(first, len(data) + 1)
        if random.random() < 0.5:
            at = max(data.rfind(b"\n", 0, at) + 1, first)
        gone = random.choice([0, 0, random.randint(0, 150)])
        left = random.choice([bytes(random.choice([1, 5, 700])), b'{"type":"com\n', b"\0\n"])
        data = data[:at] + left + data[at + gone :]
    return data


@pytest.mark.parametrize("seed", range(100))
def test_each_commit_comes_once_and_with_all_of_its_lines_in_one_call(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the cursor says, where the back end says what it has; else from the cursor on."""
    random = Random(seed)
    monkeypatch.setattr(room, "_BATCH_BYTES", random.choice([60, 150, 400, 1 << 20]))
    monkeypatch.setattr(room, "_LOOK_BACK_BYTES", random.choice([50, 200, 1 << 16]))
    data = damaged(written(random), random)
    (tmp_path / "metrics.jsonl").write_bytes(data)
    rewind: Rewind = random.choice(["continue", "skip", "fork"])
    records = list(sl.read_journal(tmp_path))
    last_run = next(record for record in reversed(records) if record["type"] == "run")
    lineage = Lineage(starts_of(last_run), rewind)
    stored = begin = random.choice([0, 0, random.randint(0, 14), None])
    cursor = {"run_id": "x", "offset": random.randint(0, len(data)), "seq": random.randint(0, 14), "kept": {}}
    if begin is None:
        begin = cursor["seq"]
    path = tmp_path / "cursors" / f"kept{suffix_of(lineage.fork)}.json"
    path.parent.mkdir()
    path.write_bytes(orjson.dumps(cursor))
    sink = Kept(stored, rewind)
    for _ in Replay(tmp_path, sink).run():
        pass
    sound = [each for each in records if each["type"] != "commit" or isinstance(each["step"], int)]
    wanted = places([each for each in sound if each.get("seq", 0) > begin and lineage.has(each)])
    # Lines that a crash has left of a commit whose own line it took may come too: nobody shows them.
    assert [place for call in sink.calls for place in call if place[1] > begin] == wanted
    assert not [place for call in sink.calls for place in call if place[0] == "commit" and place[1] <= begin]
    for seq in {seq for _, seq, _ in wanted}:
        assert sum(any(place[1] == seq for place in call) for call in sink.calls) == 1
