"""One pass over a journal finds what is damaged, missing and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from sightline.doctor.journal_health import Health, health_of

RUN = {"type": "run", "format": 1, "run_id": "ab", "attempt": 1, "started": 0.0, "processes": 4}


def commit(seq: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "commit", "seq": seq, "attempt": 1, "step": seq, "k": 0, "time": 1.0,
        "expected": 4, "reported": 4, "values": {}, **more,
    }  # fmt: skip


def health(path: Path, *lines: dict[str, Any] | bytes, most: int = 1 << 30) -> Health:
    path.write_bytes(
        b"".join(each if isinstance(each, bytes) else orjson.dumps(each) + b"\n" for each in lines)
    )
    return health_of(path, most=most)


def test_torn_and_cut_lines_are_counted(tmp_path: Path) -> None:
    found = health(tmp_path / "j", RUN, b'{"torn\n', commit(1), b"\0\0\0\n", b"[1]\n", b'{"type":"com')
    assert (found.torn, found.cut, found.commits, found.lost) == (3, 12, 1, 0)
    assert found.kinds == {"run": 1, "commit": 1}


def test_lines_that_are_passed_over_must_be_whole(tmp_path: Path) -> None:
    found = health(tmp_path / "j", RUN, b'{"type":"histogram","seq":1}\n', b'{"type":"histogram","se\n')
    assert (found.torn, found.kinds["histogram"]) == (1, 1)


def test_commits_that_are_not_there_are_told_from_gaps(tmp_path: Path) -> None:
    found = health(tmp_path / "j", RUN, commit(1), commit(2), commit(5))
    assert (found.lost, found.backwards) == (2, 0)
    gapped = {**RUN, "attempt": 2, "gaps": [[2, 1000]]}
    found = health(tmp_path / "j", RUN, commit(1), commit(2), gapped, commit(1001), commit(1001))
    assert (found.lost, found.backwards, found.gaps) == (0, 1, [(2, 1000)])


def test_who_is_missing_is_known_until_it_is_back(tmp_path: Path) -> None:
    """A process is named once, and not again while it is not waited for."""
    absent = {"reported": 2}
    lines = [RUN, commit(1), commit(2, missing=[1, 3], **absent), commit(3, **absent)]
    found = health(tmp_path / "j", *lines)
    assert found.missing_now == (1, 3)
    assert {p: (s.count, s.first, s.last) for p, s in found.missing.items()} == {1: (1, 2, 2), 3: (1, 2, 2)}
    assert health(tmp_path / "j", *lines, commit(4)).missing_now == ()


def test_counts_add_up_and_name_their_steps(tmp_path: Path) -> None:
    found = health(
        tmp_path / "j", RUN,
        commit(1, values={"loss": 1.0, "obs/conflicts": 2, "obs/sink/wandb/lag_steps": 0}),
        commit(2, values={"obs/conflicts": 3, "obs/sink/wandb/errors": 1, "obs/sink/console/errors": 4}),
        {"type": "late", "process": 3, "step": 2},
    )  # fmt: skip
    assert found.obs["conflicts"].count == 5
    assert found.obs["conflicts"].steps == "steps 1 to 2"
    assert {name: (span.count, stores) for name, (span, stores) in found.sinks.items()} == {
        "wandb": (1, True), "console": (4, False),
    }  # fmt: skip
    assert found.late[3].steps == "step 2"


def test_of_a_long_journal_the_end_is_read(tmp_path: Path) -> None:
    """What stands before is not taken for lost."""
    found = health(tmp_path / "j", RUN, *(commit(seq) for seq in range(1, 1001)), most=20_000)
    assert 0 < found.commits < 300
    assert (found.lost, found.torn, found.backwards) == (0, 0, 0)
    assert found.skipped >= found.size - 20_000
