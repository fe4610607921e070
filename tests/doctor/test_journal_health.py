"""One pass over a journal finds what is damaged, missing and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.doctor.journal_health import Health, health_of
from sightline.files.file_lines import Unreadable
from tests.holes import BOUND, HOLE, put_hole, read_bytes

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
    assert found.unreadable == Unreadable(torn=3, zeros=3)
    assert (found.cut, found.commits, found.lost) == (12, 1, 0)
    assert found.kinds == {"run": 1, "commit": 1}


def test_lines_of_all_types_are_read(tmp_path: Path) -> None:
    whole = {"type": "histogram", "seq": 1, "step": 1, "key": "h", "edges": [0, 1], "counts": [1]}
    odd = {**whole, "edges": [0]}
    found = health(tmp_path / "j", RUN, whole, odd, b'{"type":"histogram","se\n')
    assert (found.unreadable, found.kinds["histogram"]) == (Unreadable(torn=1, odd=1), 1)


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
    assert (found.lost, found.unreadable, found.backwards) == (0, Unreadable(), 0)
    assert found.skipped >= found.size - 20_000


def test_a_hole_is_told_and_what_lies_around_it_is_read(tmp_path: Path) -> None:
    """Also where the end alone is read, as of a long journal: a hole is no part of that."""
    path = tmp_path / "j"
    health(path, RUN, commit(1))
    put_hole(path, b"\n", orjson.dumps(commit(7)) + b"\n")
    put_hole(path)
    begin = read_bytes()
    found = health_of(path)
    assert (found.commits, found.lost, found.skipped) == (2, 5, 0)
    assert (found.unreadable, found.cut) == (Unreadable(torn=1, zeros=2 * HOLE), HOLE)
    assert health_of(path, most=1 << 14).commits == 2
    assert read_bytes() - begin < BOUND


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
FIELDS = (
    "type", "format", "run_id", "attempt", "started", "processes", "starts", "gaps", "seq", "step", "time",
    "expected", "reported", "missing", "values", "nonfinite", "texts", "process", "event", "seconds",
    "waiting_for", "span", "span_s", "at", "inside", "waited_s", "stacks", "key", "site",
)  # fmt: skip
KINDS = ("run", "commit", "process_values", "late", "event", "histogram", "sample")
EVENTS = ("stall", "stacks", "silent", "resumed", "finish", "nonfinite")
RECORDS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | ODD},
    optional=dict.fromkeys(FIELDS[1:], ODD) | {"event": st.sampled_from(EVENTS)},
)


@given(records=st.lists(RECORDS, max_size=6))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_types_of_anything_stop_a_reader(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    """What is left out is counted, and the sound commit among them is there."""
    lines = [json.dumps(each).encode(errors="replace") + b"\n" for each in records]
    found = health(tmp_path / "j", RUN, *lines, commit(2**40))
    assert found.commits >= 1
    assert found.last_seq >= 2**40


def test_lines_of_wrong_types_are_counted(tmp_path: Path) -> None:
    lines = [
        {"type": ["commit"]}, {**RUN, "attempt": "2"}, {**RUN, "attempt": 3, "starts": [[1, "0", None]]},
        commit(5) | {"time": "noon"}, commit(6, values={"obs/conflicts": "many"}),
        {"type": "late", "process": "3"}, {"type": "event", "event": 7},
        {"type": "process_values", "step": 1, "processes": [0], "values": {"host/process/rss_bytes": ["9"]}},
        {"type": "event", "event": "stall", "time": "noon"},
    ]  # fmt: skip
    found = health(tmp_path / "j", RUN, *lines)
    assert found.unreadable == Unreadable(odd=len(lines))
    assert (found.late, found.obs, found.hosts.of) == ({}, {}, {})
