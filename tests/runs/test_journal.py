"""The journal: what may be continued, what is skipped, and what a line can hold."""

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.runs.journal import FORMAT, Journal, numbers
from tests.holes import BOUND, HOLE, put_hole, read_bytes

RUN = {"type": "run", "format": FORMAT, "run_id": "r", "name": "run", "attempt": 2, "started": 1.0}
COMMIT = {"type": "commit", "seq": 5, "attempt": 2, "step": 7, "k": 0, "values": {"loss": 0.5}, "counts": {}}


def file_of(folder: Path, *lines: Any) -> Path:
    """A journal of these records; bytes stand as they are."""
    path = folder / "metrics.jsonl"
    path.write_bytes(
        b"".join(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n" for line in lines)
    )
    return path


def opened(path: Path) -> Journal:
    """The journal's place, as it is when it was opened."""
    journal = Journal(path)
    journal.close()
    return journal


def test_a_new_file_is_an_empty_journal(tmp_path: Path) -> None:
    journal = opened(tmp_path / "metrics.jsonl")
    assert (journal.seq, journal.attempt, journal.run_id, journal.last_step) == (0, 0, None, None)
    assert journal.size == 0


def test_an_earlier_journal_is_continued_where_it_ends(tmp_path: Path) -> None:
    path = file_of(tmp_path, RUN, COMMIT, {**RUN, "attempt": 3})
    journal = Journal(path)
    assert (journal.seq, journal.attempt, journal.run_id, journal.last_step) == (5, 3, "r", 7)
    assert journal.append({"type": "event", "event": "here"})
    assert journal.size == path.stat().st_size
    journal.close()
    assert list(sl.read_journal(tmp_path))[-1] == {"type": "event", "event": "here"}


def test_a_newer_format_is_refused_with_both_formats(tmp_path: Path) -> None:
    path = file_of(tmp_path, {**RUN, "format": 91}, COMMIT)
    before = path.read_bytes()
    with pytest.raises(sl.JournalError, match=rf"format 91.*writes {FORMAT}"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"step,loss\n1,0.5\n", b'{"loss": 0.5}\n{"loss": 0.25}\n', b"[1, 2]\n", b"\xff\xfe\x00\n"],
    ids=["CSV", "other JSON lines", "a list", "bytes"],
)
def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = file_of(tmp_path, content)
    with pytest.raises(sl.JournalError, match="no journal of sightline"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_folder_in_the_journals_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sl.JournalError, match="cannot open"):
        Journal(tmp_path)


@pytest.mark.parametrize("length", [1, 40, 200_000])
def test_a_fragment_at_the_end_is_cut(tmp_path: Path, length: int) -> None:
    """What a crash left of the last line, however long, is gone before the next line is written."""
    path = file_of(tmp_path, RUN, COMMIT)
    whole = path.read_bytes()
    path.write_bytes(whole + (b'{"type":"commit","seq":6,"step":8,' + b" " * length)[:length])
    journal = opened(path)
    assert (journal.seq, journal.last_step) == (5, 7)
    assert path.read_bytes() == whole


def test_readers_stop_before_a_fragment(tmp_path: Path) -> None:
    """A live journal may end in the middle of a line, which is no trouble."""
    path = file_of(tmp_path, RUN, COMMIT, b'{"type":"com')
    assert list(sl.read_journal(path)) == [RUN, COMMIT]


def test_torn_lines_are_skipped_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A crash of the machine can tear lines in the middle, and the rest of the run is still good."""
    later = {**COMMIT, "seq": 6, "step": 8}
    path = file_of(tmp_path, RUN, b'{"type":"com\n', COMMIT, b"\x00\x00\x00\n", later)
    with caplog.at_level(logging.WARNING, "sightline"):
        assert list(sl.read_journal(tmp_path)) == [RUN, COMMIT, later]
    assert [record.getMessage() for record in caplog.records] == [
        f"sightline: {path}: skipped 2 torn lines, 3 B of zeros, as a crash of a machine leaves them"
    ]
    journal = opened(path)
    assert (journal.seq, journal.last_step, journal.run_id) == (6, 8, "r")


def test_reading_begins_at_an_offset(tmp_path: Path) -> None:
    path = file_of(tmp_path, RUN, COMMIT)
    assert list(sl.read_journal(path, offset=len(orjson.dumps(RUN)) + 1)) == [COMMIT]


MALFORMED = [
    [],
    "x",
    3,
    None,
    {},
    {"type": None},
    {"type": ["commit"]},
    {"type": "commit"},
    {"type": "commit", "seq": None, "step": None},
    {"type": "commit", "seq": "6", "step": "8"},
    {"type": "process_values"},
    {"type": "event", "attempt": "nine"},
    {"type": "event", "attempt": None},
    {"type": "run"},
    {"type": "run", "format": "1", "run_id": 3, "attempt": []},
]


@pytest.mark.parametrize("record", MALFORMED, ids=json.dumps)
def test_a_malformed_record_among_good_ones_does_not_stop_a_run_from_going_on(
    tmp_path: Path, record: Any
) -> None:
    for lines in ([RUN, COMMIT, record], [RUN, record, COMMIT]):
        journal = opened(file_of(tmp_path, *lines))
        assert (journal.run_id, journal.seq, journal.attempt) == ("r", 5, 2)
        assert journal.last_step == 7


@pytest.mark.parametrize("record", MALFORMED, ids=json.dumps)
def test_a_file_of_nothing_but_malformed_records_is_no_journal(tmp_path: Path, record: Any) -> None:
    with pytest.raises(sl.JournalError):
        Journal(file_of(tmp_path, record))


def test_nobody_is_given_a_line_before_the_kernel_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a sink would have, after a kill, what the journal has not."""
    journal = Journal(tmp_path / "metrics.jsonl")
    write, given = os.write, []

    def observed(file: int, data: Any) -> int:
        given.append(journal.read(0, 1 << 20).data == (tmp_path / "metrics.jsonl").read_bytes())
        return write(file, data)

    monkeypatch.setattr(os, "write", observed)
    for i in range(3):
        assert journal.append({"type": "commit", "seq": i}, {"type": "histogram", "seq": i})
    journal.close()
    assert given == [True] * 3  # both lines of each together


def test_numbers_are_what_json_can_hold() -> None:
    """NaN and infinities are null with their name beside; ints beyond 64 bits become floats."""
    finite, nonfinite = numbers(
        {
            "a": 0.5, "b": 3, "nan": math.nan, "inf": math.inf, "minus": -math.inf,
            "most": 2**64 - 1, "least": -(2**63), "big": 2**64, "small": -(2**63) - 1,
            "huge": 10**400, "-huge": -(10**400),
        }
    )  # fmt: skip
    assert finite == {
        "a": 0.5, "b": 3, "nan": None, "inf": None, "minus": None,
        "most": 2**64 - 1, "least": -(2**63), "big": 2.0**64, "small": -(2.0**63),
        "huge": None, "-huge": None,
    }  # fmt: skip
    assert type(finite["b"]) is type(finite["most"]) is int
    assert type(finite["big"]) is type(finite["small"]) is float
    assert nonfinite == {"nan": "nan", "inf": "inf", "minus": "-inf", "huge": "inf", "-huge": "-inf"}
    assert list(finite) == list(json.loads(orjson.dumps(finite)))


def test_lines_hold_what_json_cannot(tmp_path: Path) -> None:
    """Lone surrogates, huge ints, odd keys and objects cost no line."""
    journal = Journal(tmp_path / "metrics.jsonl")
    assert journal.append({"type": "event", "text": "a\ud800", "huge": 10**30, "of": {3: {1 + 2j}}})
    journal.close()
    (record,) = sl.read_journal(tmp_path)
    assert record == {"type": "event", "text": "a\\ud800", "huge": 1e30, "of": {"3": "{(1+2j)}"}}


def test_an_event_stays_an_event_whatever_its_fields_are_called(tmp_path: Path) -> None:
    """A field named like one of the journal's own cannot turn the line into another record."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        run.logger.event("mine", type="commit", attempt=9, time=None, seq=900, step=-5, note="here")
        run.commit(1)
    records = list(sl.read_journal(tmp_path / "run"))
    (event,) = [record for record in records if record.get("note") == "here"]
    assert (event["type"], event["event"], event["attempt"]) == ("event", "mine", 1)
    assert isinstance(event["time"], float)
    assert [record["seq"] for record in records if record["type"] == "commit"] == [1]
    assert (opened(tmp_path / "run" / "metrics.jsonl").attempt) == 1


def test_seq_goes_on_over_attempts(tmp_path: Path) -> None:
    for attempt in (1, 2, 3):
        with sl.start(tmp_path, name="run", sinks=[], resume="allow") as run:
            for step in run.steps(2 * attempt):
                run.commit(step)
    records = list(sl.read_journal(tmp_path / "run"))
    assert [r["attempt"] for r in records if r["type"] == "run"] == [1, 2, 3]
    commits = [r for r in records if r["type"] == "commit"]
    assert [(r["seq"], r["attempt"], r["step"]) for r in commits] == [
        (1, 1, 0), (2, 1, 1), (3, 2, 2), (4, 2, 3), (5, 3, 4), (6, 3, 5)
    ]  # fmt: skip


def test_a_hole_between_lines_is_passed_over_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The line at which it ends is one if it is whole; none of the hole is read."""
    path = file_of(tmp_path, RUN, COMMIT, b'{"type":"com')
    later = [{**COMMIT, "seq": seq, "step": seq + 2} for seq in (9, 10)]
    put_hole(path, *(orjson.dumps(each) + b"\n" for each in later))
    begin = read_bytes()
    with caplog.at_level(logging.WARNING, "sightline"):
        assert list(sl.read_journal(path)) == [RUN, COMMIT, *later]
    (said,) = [record.getMessage() for record in caplog.records]
    assert (
        said
        == f"sightline: {path}: skipped 1 torn line, 4.29 GB of zeros, as a crash of a machine leaves them"
    )
    assert read_bytes() - begin < BOUND


def test_a_journal_with_a_hole_is_continued_above_what_the_hole_may_have_held(tmp_path: Path) -> None:
    """Though its last line says that the run has ended."""
    finish = orjson.dumps({"type": "event", "event": "finish", "attempt": 2}) + b"\n"
    path = file_of(tmp_path, RUN, COMMIT)
    with path.open("ab") as file:
        file.write(finish)
    assert opened(path).has_ended
    put_hole(path, finish, at=path.stat().st_size - len(finish))
    begin = read_bytes()
    journal = opened(path)
    assert (journal.has_ended, journal.seq, journal.run_id) == (False, 5, "r")
    assert read_bytes() - begin < BOUND


def test_readers_at_a_place_get_the_lines_before_a_hole_and_then_those_behind_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, RUN, COMMIT)
    size = path.stat().st_size
    put_hole(path, b'rest"}\n', orjson.dumps(COMMIT) + b"\n")
    journal = Journal(path)
    first = journal.read(0, 1 << 20)
    assert (first.begin, first.end, len(first.data.splitlines())) == (0, size, 2)
    second = journal.read(first.end, 1 << 20)
    assert (second.begin, orjson.loads(second.data)) == (size + HOLE + 7, COMMIT)
    assert second.end == path.stat().st_size
    assert journal.read(path.stat().st_size, 1 << 20) == (path.stat().st_size, b"")
    journal.close()


@pytest.mark.parametrize(
    "gaps",
    [
        7,
        "ab",
        {"a": 1},
        [["1", 2]],
        [[1]],
        [[1, None]],
        [[True, 2]],
        [5],
        [[1.5, 2]],
        [[-1, 2]],
        [[1, 2**53]],
    ],
)
def test_gaps_of_odd_types_are_left_out(tmp_path: Path, gaps: Any) -> None:
    assert opened(file_of(tmp_path, {**RUN, "gaps": gaps}, COMMIT)).gaps == []
