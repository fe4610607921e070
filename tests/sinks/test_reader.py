"""A sink gets every commit, in order, however it fares; and nobody else notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from logging import LogRecord
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.runs.journal import Journal
from sightline.sinks import SinkReader, SinkRun, make_sinks
from sightline.sinks import reader as room
from sightline.sinks.base import ApartError
from sightline.sinks.cursor import Cursor
from sightline.sinks.damage import Damage
from sightline.sinks.lineage import Rewind
from sightline.sinks.syncing import JournalFile
from tests.holes import BOUND, put_hole, read_bytes
from tests.sinks.faulty import FaultyStore, Kind, Trouble


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PAUSE_S", (0.001, 0.01))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.append({"type": "run", "format": 1, "run_id": "r", "attempt": 1})
    yield journal
    journal.close()


def commit(journal: Journal, *, histograms: int = 0) -> None:
    journal.seq += 1
    place = {"seq": journal.seq, "attempt": 1, "step": journal.seq}
    lines = [
        {"type": "histogram", **place, "key": f"h{i}", "edges": [0, 1], "counts": [i]}
        for i in range(histograms)
    ]
    journal.append({"type": "commit", **place, "values": {"loss": 0.5}}, *lines)


class Kept:
    """A back end with a connection that can break: keeps what is written, and answers up to which commit."""

    name = "kept"
    rewind: Rewind = "continue"
    stores_at_close = False

    def __init__(self, fails: Callable[[str], bool] = lambda call: False, answers: bool = True) -> None:
        self.fails = fails
        self.answers = answers
        self.seqs: list[int] = []
        self.calls: list[str] = []
        self.is_closed = False

    def open(self, run: SinkRun) -> int | None:
        self._call("open")
        return max(self.seqs, default=0) if self.answers else None

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._call("write")
        for record in records:
            if record["type"] == "commit":
                self.seqs.append(record["seq"])
                self._call("written")

    def close(self) -> None:
        self._call("close")
        self.is_closed = True

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fails(name):
            raise ConnectionError(f"{name} fails")


class PassingOn:
    """A sink that stores nothing itself."""

    name = "passing on"

    def __init__(self, to: Kept) -> None:
        self.write, self.close = to.write, to.close


def fed(
    sink: Kept | FaultyStore, journal: Journal, tmp_path: Path, cursor: Cursor | None = None, hint: str = ""
) -> SinkReader:
    """A reader of the whole journal, or from a cursor on."""
    cursor = cursor or Cursor(tmp_path / "cursors" / "kept.json", "r")
    run = SinkRun("r", "run", tmp_path, 1, kept=cursor.kept)
    reader = SinkReader(
        sink, journal, cursor.offset, run=run, cursor=cursor, damage=Damage(journal.path), resume_hint=hint
    )
    reader.wake(journal.end, journal.seq)
    return reader


class Now:
    """Fails for a while: the first so many calls of a kind."""

    def __init__(self, **times: int) -> None:
        self.left = times

    def __call__(self, call: str) -> bool:
        self.left[call] = self.left.get(call, 0) - 1
        return self.left[call] >= 0


@pytest.mark.parametrize("times", [{"open": 3}, {"write": 4}, {"written": 2}, {"open": 2, "written": 20}])
def test_after_an_outage_every_commit_is_there_once(
    times: dict[str, int], journal: Journal, tmp_path: Path
) -> None:
    """The back end may have stored part of a batch before it failed."""
    sink = Kept(Now(**times))
    for _ in range(50):
        commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: sink.seqs == list(range(1, 51)))
    assert reader.close(5)
    assert sink.seqs == list(range(1, 51))
    assert sink.is_closed


@pytest.mark.parametrize("kind", ["open exits", "write exits"])
def test_a_sink_that_exits_fails_like_any_other(kind: Kind, journal: Journal, tmp_path: Path) -> None:
    trouble = Trouble(kind)
    kept = Kept()
    sink = FaultyStore(kept, trouble)
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: reader.is_down)
    assert not reader.flush(600)
    assert reader.look().errors >= 5
    trouble.over.set()
    assert until(lambda: kept.seqs == [1])
    assert reader.close(5)


def test_a_sink_that_fails_and_works_in_turn_does_not_fill_the_log(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fails = {"write"}
    sink = Kept(lambda call: call in fails)
    reader = fed(sink, journal, tmp_path)
    for n in range(1, 21):
        fails.add("write")
        commit(journal)
        reader.wake(journal.end, journal.seq)
        assert until(lambda: reader.trouble != "")
        reader.trouble = ""
        fails.clear()
        assert until(lambda n=n: sink.seqs == list(range(1, n + 1)))  # type: ignore[misc]
        assert reader.flush(5)
    assert reader.close(5)
    said = [record for record in caplog.records if " fails" in record.message]
    assert len(said) == 5
    assert ["Traceback" in record.getMessage() for record in said] == [True, *[False] * 4]
    assert "16 times so far" in said[-1].message
    assert sum("works again" in record.message for record in caplog.records) <= 5


def test_an_answer_that_is_no_number_is_said(journal: Journal, tmp_path: Path) -> None:
    class Texts(Kept):
        def open(self, run: SinkRun) -> Any:
            return "7"

    reader = fed(Texts(), journal, tmp_path)
    assert until(lambda: "open() returned '7'; expected the seq of a commit" in reader.trouble)
    assert not reader.close(1)


@pytest.mark.parametrize(
    ("its", "said"),
    [
        ({"name": "../../evil"}, "sink name '../../evil'"),
        ({"rewind": "forks"}, "rewind='forks': expected"),
        ({"stores_at_close": None}, "a bool stores_at_close"),
        ({"open": 3}, "a method open"),
    ],
)
def test_a_sink_that_cannot_work_is_refused_at_start_up(its: dict[str, Any], said: str) -> None:
    assert make_sinks([Kept()], {})
    with pytest.raises(sl.ConfigurationError, match=said):
        make_sinks([type("Odd", (Kept,), its)()], {})


def test_half_of_a_sink_that_stores_is_refused() -> None:
    class Half:
        name = "half"
        rewind = "continue"
        open = Kept.open
        write = Kept.write
        close = Kept.close

    with pytest.raises(sl.ConfigurationError, match="has open and rewind and lacks stores_at_close"):
        make_sinks([Half()], {})


def test_a_cut_last_line_ends_the_batch(journal: Journal, tmp_path: Path) -> None:
    commit(journal)
    with journal.path.open("ab") as file:
        file.write(b'{"type":"commit","seq":2,')
    sink = Kept()
    cursor = Cursor(tmp_path / "cursors" / "kept.json", "r")
    reader = SinkReader(
        sink, JournalFile(journal.path), 0, run=SinkRun("r", "run", tmp_path, 1), cursor=cursor
    )
    reader.wake(journal.path.stat().st_size, 2)
    assert until(lambda: sink.seqs == [1])
    assert reader.close(5)


def test_a_back_end_that_cannot_be_asked_gets_every_commit_at_least_once(
    journal: Journal, tmp_path: Path
) -> None:
    sink = Kept(Now(written=1), answers=False)
    for _ in range(5):
        commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: 5 in sink.seqs)
    assert reader.close(5)
    assert sink.seqs == [1, 1, 2, 3, 4, 5]


def test_the_next_attempt_goes_on_where_the_back_end_stands_whatever_the_cursor_says(
    journal: Journal, tmp_path: Path
) -> None:
    for _ in range(10):
        commit(journal)
    for stored, cursor_at in ((4, 10), (4, 0), (10, 4), (0, 10)):
        sink = Kept()
        sink.seqs = list(range(1, stored + 1))
        cursor = Cursor(tmp_path / "cursors" / "kept.json", "r")
        whole = journal.read(0, 1 << 20).data.splitlines(keepends=True)
        cursor.offset, cursor.seq = sum(map(len, whole[: 1 + cursor_at])), cursor_at
        reader = fed(sink, journal, tmp_path, cursor)
        assert reader.flush(5)
        assert reader.close(5)
        assert sink.seqs == list(range(1, 11)), (stored, cursor_at)


def test_a_cursor_moves_when_write_has_returned_or_when_all_is_closed(
    journal: Journal, tmp_path: Path
) -> None:
    for stores_at_close in (False, True):
        sink = Kept()
        sink.stores_at_close = stores_at_close
        commit(journal)
        reader = fed(sink, journal, tmp_path / str(stores_at_close))
        assert reader.flush(5)
        path = tmp_path / str(stores_at_close) / "cursors" / "kept.json"
        if stores_at_close:
            assert Cursor(path, "r").seq == 0
        else:
            assert until(lambda path=path: Cursor(path, "r").seq == journal.seq)  # type: ignore[misc]
        assert reader.close(5)
        assert Cursor(path, "r").seq == journal.seq
        assert Cursor(path, "another run").seq == 0


@pytest.mark.parametrize("stores_at_close", [False, True])
def test_a_sink_that_stores_at_its_end_and_cannot_does_not_count_as_complete(
    stores_at_close: bool, journal: Journal, tmp_path: Path
) -> None:
    sink = Kept(Now(close=1))
    sink.stores_at_close = stores_at_close
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert reader.flush(5)
    assert reader.close(5) is not stores_at_close
    assert Cursor(tmp_path / "cursors" / "kept.json", "r").seq == (0 if stores_at_close else journal.seq)


def test_a_sink_that_is_down_holds_up_neither_flush_nor_close(journal: Journal, tmp_path: Path) -> None:
    sink = Kept(lambda call: True)
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: len(sink.calls) > 5)
    assert not reader.flush(600)
    assert not reader.close(600)
    feeding = reader.look()
    assert feeding.errors >= 5
    assert feeding.lag_steps == 1
    assert not sink.is_closed


def test_a_sink_that_is_down_is_closed_so_that_it_lets_go_of_what_it_holds(
    journal: Journal, tmp_path: Path
) -> None:
    """Files, a child process, what an SDK has once in a process: the next run may need it."""
    sink = Kept(lambda call: call == "write")
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: reader.is_down)
    assert not reader.close(600)
    assert sink.is_closed
    assert reader.trouble == "ConnectionError: write fails"


@pytest.mark.parametrize("stores", [True, False])
def test_a_sink_between_two_tries_is_closed_when_the_time_is_up(
    stores: bool, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the end of the time comes before the end of its closing, which takes a moment."""
    monkeypatch.setattr(room, "_PATIENCE", 10**6)
    store = Kept(lambda call: call == "write" or (call == "close" and bool(time.sleep(0.1))))
    commit(journal)
    reader = fed(store, journal, tmp_path) if stores else SinkReader(PassingOn(store), journal, 0)
    reader.wake(journal.end, journal.seq)
    assert until(lambda: reader.trouble != "")
    assert not reader.close(0.05)
    assert store.is_closed


def test_a_sink_that_is_down_and_hangs_as_it_is_closed_is_left_behind(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_LETS_GO_S", 0.1)
    never = threading.Event()
    sink = Kept(lambda call: call == "write" or (call == "close" and never.wait()))
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: reader.is_down)
    assert not reader.close(600)
    assert until(lambda: "close" in sink.calls)
    never.set()


def test_the_first_failure_names_the_command_that_brings_up_what_is_missing(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run may be over before the sink counts as down. Another process's traceback says nothing here."""

    class Apart(Kept):
        def open(self, run: SinkRun) -> int | None:
            raise ApartError("CommError: no network (see wandb/sightline.log)")

    commit(journal)
    reader = fed(Apart(), journal, tmp_path, hint="sightline sync runs/r --to kept")
    assert until(lambda: bool(caplog.records))
    said = caplog.records[0].getMessage()
    assert said.startswith("sightline: sink kept fails: CommError: no network (see wandb/sightline.log); ")
    assert "sightline sync runs/r --to kept" in said
    assert "Traceback" not in said
    reader.close(5)


@pytest.mark.parametrize("is_first", [True, False])
def test_finish_waits_little_for_a_back_end_that_was_never_reached(
    is_first: bool, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its only try is under way then, or a later one; with a limit of ten minutes for the sink."""
    monkeypatch.setattr(room, "_UNREACHED_S", 0.2)
    monkeypatch.setattr(room, "_PATIENCE", 10**6)
    go_on = threading.Event()

    def fails(call: str) -> bool:
        if is_first or len(sink.calls) > 1:
            go_on.wait()
        return True

    sink = Kept(fails)
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: len(sink.calls) == (1 if is_first else 2))
    if is_first:
        reader.begin_close(600)
        go_on.set()
    assert not reader.close(600)
    assert reader.is_behind_for_good
    assert set(sink.calls) == {"open"}
    go_on.set()


def test_finish_leaves_a_first_try_that_hangs_and_ends_it(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a limit of ten minutes for the sink. One line says what is left, and nothing comes after it."""
    monkeypatch.setattr(room, "_UNREACHED_S", 0.1)
    monkeypatch.setattr(room, "_LOADS_S", 0.2)

    class Hanging(Kept):
        def give_up(self) -> None:
            never.set()

    never = threading.Event()
    sink = Hanging(lambda call: call == "open" and never.wait())
    commit(journal)
    reader = fed(sink, journal, tmp_path, hint="sightline sync runs/r --to kept")
    assert not reader.close(600)
    assert until(lambda: not reader._thread.is_alive())
    assert [record.getMessage() for record in caplog.records] == [
        "sightline: sink kept was left 1 commit behind, and has not been reached; "
        "sightline sync runs/r --to kept"
    ]
    assert sink.calls == ["open"]


def test_finish_waits_for_a_first_try_that_succeeds_late(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SDK may take long to be loaded; what has been reached gets all the time that there is."""
    monkeypatch.setattr(room, "_UNREACHED_S", 0.0)
    closing, waited = threading.Event(), threading.Event()

    def slow(call: str) -> bool:
        if call == "open":
            closing.wait()
        else:
            waited.wait(0.3)
        return False

    sink = Kept(slow)
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    reader.begin_close(600)
    closing.set()
    assert reader.close(600)
    assert sink.seqs == [1]


def test_an_outage_of_a_day_is_survived(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has more failures than a float has powers of two."""
    monkeypatch.setattr(room, "_PAUSE_S", (1e-9, 1e-5))
    sink = Kept(lambda call: sink.calls.count("open") < 1200)
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert until(lambda: sink.seqs == [1], 60)
    assert reader.close(60)


def test_a_sink_that_hangs_is_left_behind(journal: Journal, tmp_path: Path) -> None:
    never = threading.Event()
    sink = Kept(lambda call: call == "write" and never.wait())
    commit(journal)
    reader = fed(sink, journal, tmp_path)
    assert not reader.flush(0.1)
    assert not reader.close(0.1)
    assert reader.look().lag_steps == 1
    never.set()


def test_what_the_disk_refuses_reaches_the_sinks(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Kept()
    reader = fed(sink, journal, tmp_path)
    commit(journal)

    def refuse(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", refuse)
        for _ in range(3):
            commit(journal)
        reader.wake(journal.end, journal.seq)
        assert reader.flush(5)
        assert sink.seqs == [1, 2, 3, 4]
    commit(journal)
    reader.wake(journal.end, journal.seq)
    assert reader.close(5)
    assert sink.seqs == [1, 2, 3, 4, 5]


def test_all_lines_of_a_commit_come_in_one_call(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a batch ends in the middle of them, or is smaller than all of them."""
    batches: list[list[tuple[str, int | None]]] = []

    class Watched(Kept):
        def write(self, records: Sequence[Mapping[str, Any]]) -> None:
            batches.append([(record["type"], record.get("seq")) for record in records])

    for i in range(20):
        commit(journal, histograms=i % 5)
    monkeypatch.setattr(room, "_BATCH_BYTES", 200)
    reader = fed(Watched(), journal, tmp_path)
    assert reader.flush(5)
    assert reader.close(5)
    flat = [place for batch in batches for place in batch]
    assert [seq for kind, seq in flat if kind == "commit"] == list(range(1, 21))
    for before, after in pairwise(batches):
        assert before[-1][1] != after[0][1]


def until(condition: Callable[[], bool], timeout: float = 120) -> bool:
    waited = threading.Event()
    for _ in range(int(timeout / 0.005)):
        if condition():
            return True
        waited.wait(0.005)
    return condition()


def test_commits_behind_a_hole_come_to_a_sink_as_those_before_it(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also to one that has got so far already; and the loss is said of the journal."""
    commit(journal, histograms=3)
    put_hole(journal.path, b"\n")
    journal.size = journal.path.stat().st_size
    for _ in range(4):
        commit(journal, histograms=3)
    begin = read_bytes()
    for stored in (0, 1, 3):
        sink = Kept()
        sink.seqs = list(range(1, stored + 1))
        reader = fed(sink, journal, tmp_path / str(stored))
        assert reader.flush(30)
        assert reader.close(30)
        assert sink.seqs == [1, 2, 3, 4, 5]
    said = [text for text in map(LogRecord.getMessage, caplog.records) if "crash of the machine" in text]
    lost = "has lost 4.29 GB to a crash of the machine, and no sink gets them (said once)"
    assert said == [f"sightline: {journal.path} {lost}"] * 2
    assert read_bytes() - begin < BOUND


def test_several_readers_of_one_journal_say_its_damage_once(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit(journal)
    put_hole(journal.path, b"\n")
    with journal.path.open("ab") as file:
        file.write(b'{"type":"commit","seq":"2"}\n')
    journal.size = journal.path.stat().st_size
    commit(journal)
    damage = Damage(journal.path)
    readers = []
    for name in "abc":
        run, cursor = SinkRun("r", "run", tmp_path, 1), Cursor(tmp_path / name, "r")
        readers.append(SinkReader(Kept(), journal, 0, run=run, cursor=cursor, damage=damage))
        readers[-1].wake(journal.end, journal.seq)
    for reader in readers:
        assert reader.flush(30)
        assert reader.close(30)
    assert len([each for each in caplog.records if str(journal.path) in each.getMessage()]) == 2
    assert not [each for each in caplog.records if "sink kept" in each.getMessage()]


def batches_of(journal: Journal, tmp_path: Path) -> list[list[tuple[str, int | None]]]:
    """What a sink is handed of a whole journal, call by call."""
    batches: list[list[tuple[str, int | None]]] = []

    class Watched(Kept):
        def write(self, records: Sequence[Mapping[str, Any]]) -> None:
            batches.append([(record["type"], record.get("seq")) for record in records])

    reader = fed(Watched(), journal, tmp_path)
    assert reader.flush(60)
    assert reader.close(60)
    return batches


def test_a_commit_with_a_line_of_many_batches_comes_in_one_call(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is in its middle; what stands behind it is no part of another commit."""
    monkeypatch.setattr(room, "_BATCH_BYTES", 1 << 14)
    kinds = ("commit", "process_values", "histogram", "sample")
    more: dict[str, dict[str, Any]] = {
        "commit": {"values": {"loss": 0.5}},
        "process_values": {"processes": [0], "values": {"loss": [0.5] * (1 << 16)}},
        "histogram": {"key": "h", "edges": [0, 1], "counts": [1]},
        "sample": {"table": "t", "recorded": 1, "rows": [{"prompt": "p"}]},
    }
    for seq in (1, 2, 3):
        journal.seq = seq
        place = {"seq": seq, "attempt": 1, "step": seq, "k": 0, "time": 1.0}
        journal.append(*({"type": kind, **place, **more[kind]} for kind in kinds))
    assert max(map(len, journal.path.read_bytes().splitlines())) > 16 * room._BATCH_BYTES
    batches = [batch for batch in batches_of(journal, tmp_path) if batch != [("run", None)]]
    assert batches == [[(kind, seq) for kind in kinds] for seq in (1, 2, 3)]


def test_a_commit_with_a_hole_between_its_lines_comes_in_one_call(journal: Journal, tmp_path: Path) -> None:
    for _ in range(3):
        commit(journal, histograms=2)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    middle = sum(map(len, lines[:5]))  # run, the first commit, and the second one's own line
    put_hole(journal.path, b"\n", *lines[5:], at=middle)
    journal.size = journal.path.stat().st_size
    batches = batches_of(journal, tmp_path)
    assert [seq for batch in batches for kind, seq in batch if kind == "commit"] == [1, 2, 3]
    of_second = [("commit", 2), ("histogram", 2), ("histogram", 2)]
    assert [
        [place for place in batch if place[1] == 2]
        for batch in batches
        if any(seq == 2 for _, seq in batch)
    ] == [of_second]  # fmt: skip
