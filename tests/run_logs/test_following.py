"""A run that goes on is followed, however its files are renamed, replaced and copied."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sightline.run_logs.following import Follower
from sightline.run_logs.merging import LogLine, RunLogs
from tests.run_logs.written import S, Written


def texts(batches: Iterator[list[LogLine]], wanted: int) -> list[str]:
    """So many lines, however many looks they take."""
    found: list[str] = []
    while len(found) < wanted:
        found += [str(line.record["message"]) for line in next(batches)]
    return found


def replace(log: Written) -> None:
    """As a copying tool does: another file under the old name."""
    log.write("new.part")
    os.replace(log.path.with_name("new.part"), log.path)


def test_every_line_is_shown_once_over_rotation_replacement_and_reused_inodes(tmp_path: Path) -> None:
    log = Written(tmp_path, processes=2).say(S, "0")
    other = Written(tmp_path, 1, processes=2)
    log.write()
    logs = RunLogs([tmp_path])
    shown = [str(line.record["message"]) for line in logs.lines(is_live=True)]
    batches = Follower(logs, hold_s=0, tick_s=0.01).batches()
    for i in range(1, 30):
        match i % 3:
            case 0:  # grows in place
                with open(log.path, "ab") as file:
                    before = len(log.data)
                    log.say(S + i, str(i))
                    file.write(log.data[before:])
            case 1:  # is copied anew
                replace(log.say(S + i, str(i)))
            case 2:  # was full, and has another name
                with open(log.path, "ab") as file:
                    before = len(log.data)
                    log.say(S + i, str(i))
                    file.write(log.data[before:])
                os.replace(log.path, log.path.with_name(f"p00000.a01.{i:04d}.jsonl"))
                log = Written(tmp_path, processes=2, segment=i, pid=i)
                log.write()
        replace(other.say(S + i, f"other {i}"))
        shown += texts(batches, 2)
    assert [each for each in shown if "other" not in each] == [str(i) for i in range(30)]
    assert [each for each in shown if "other" in each] == [f"other {i}" for i in range(1, 30)]


def test_a_copy_beside_the_original_shows_nothing_twice(tmp_path: Path) -> None:
    log = Written(tmp_path / "a").say(S, "one")
    copy = Written(tmp_path / "b").say(S, "one")
    log.say(S, "two")
    logs = RunLogs([log.write(), copy.write()])
    shown = [str(line.record["message"]) for line in logs.lines(is_live=True)]
    batches = Follower(logs, hold_s=0, tick_s=0.01).batches()
    for i in range(5):
        log.say(S, f"more {i}").write()
        shown += texts(batches, 1)
        assert next(batches) == []
    assert shown == ["one", "two", *(f"more {i}" for i in range(5))]


def test_a_part_of_a_line_is_waited_for(tmp_path: Path) -> None:
    log = Written(tmp_path).say(S, "one")
    log.write()
    logs = RunLogs([tmp_path])
    assert len(list(logs.lines(is_live=True))) == 1
    batches = Follower(logs, hold_s=0, tick_s=0.01).batches()
    whole = log.say(S, "two").data
    log.path.write_bytes(whole[:-20])
    assert next(batches) == []
    log.path.write_bytes(whole)
    assert texts(batches, 1) == ["two"]
    assert not logs.damage


def test_lines_of_a_burst_come_in_order_and_in_pieces(tmp_path: Path) -> None:
    """What comes at once is not all in memory; each piece is ordered."""
    from sightline.run_logs import following

    log = Written(tmp_path)
    log.write()
    logs = RunLogs([tmp_path])
    assert list(logs.lines(is_live=True)) == []
    for i in range(20_000):
        log.say(S + i, str(i))
    log.write()
    limit = following._AT_ONCE_BYTES
    following._AT_ONCE_BYTES = 300_000
    try:
        batches = Follower(logs).batches()
        sizes = []
        while sum(sizes) < 20_000:
            batch = next(batches)
            sizes.append(len(batch))
            assert [line.time_ns for line in batch] == sorted(line.time_ns for line in batch)
    finally:
        following._AT_ONCE_BYTES = limit
    assert max(sizes) < 10_000
