"""Files of other hosts come into one run directory: what is new or longer, and nothing else changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import fsspec
import orjson
import pytest

from sightline.errors import ConfigurationError, RunDirectoryError
from sightline.files.file_lines import WholeLines
from sightline.files.file_places import FolderPlace
from sightline.gathering import Plan, carry_out, plan, processes_of
from tests.holes import BOUND, put_hole, read_bytes
from tests.run_logs.written import Written


def collect(run: Path, *sources: object) -> Plan:
    made = plan(run, [str(each) for each in sources])
    for _ in carry_out(made, run):
        pass
    return made


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".collect.lock"
    }


def host(folder: Path, process: int, *, run_id: str = "r1", lines: int = 3) -> Written:
    """A process's log, a trace, samples and a profile, as they lie on its disk."""
    log = Written(folder, process, processes=3, run_id=run_id)
    for i in range(lines):
        log.say(i, f"line {i}")
    log.write()
    name = f"p{process:05d}.a01"
    for path, data in {
        f"traces/{name}.0000.json": b'[\n{"ph":"M","name":"sightline","args":{"format":1,"run_id":"%s"}},\n',
        f"samples/rows.{name}.jsonl": b'{"type":"header","table":"rows","run_id":"%s"}\n',
        f"logs/{name}.log": b"# run_id=%s attempt=1\n",
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data % run_id.encode())
    profile = folder / f"profiles/{name}.s000001/plugins/profile/x/host.xplane.pb"
    profile.parent.mkdir(parents=True)
    profile.write_bytes(bytes(range(256)))
    return log


def test_what_is_new_is_brought_once(tmp_path: Path) -> None:
    host(tmp_path / "h1", 1)
    host(tmp_path / "h2" / "deep", 2)
    (tmp_path / "h2" / "notes.txt").write_text("not of a run")
    run = tmp_path / "run"
    host(run, 0)
    (run / "metrics.jsonl").write_bytes(
        b'{"type":"run","format":1,"run_id":"r1","attempt":1,"processes":3}\n'
    )
    before = files(run)
    made = collect(run, tmp_path / "h1", tmp_path / "h2")
    assert files(run) == {**before, **files(tmp_path / "h1"), **files(tmp_path / "h2" / "deep")}
    assert (len(made.steps), made.conflicts, made.refused) == (10, [], [])
    after = {path: path.stat() for path in run.rglob("*") if path.is_file()}
    again = collect(run, tmp_path / "h1", tmp_path / "h2")
    assert (again.steps, again.up_to_date) == ([], 10)
    assert {path: path.stat() for path in run.rglob("*") if path.is_file()} == after


def test_files_grow_and_never_shrink(tmp_path: Path) -> None:
    log = host(tmp_path / "h1", 1)
    run = tmp_path / "run"
    collect(run, tmp_path / "h1")
    log.say(9, "longer").write()
    made = collect(run, tmp_path / "h1")
    assert [(step.name, step.target is not None) for step in made.steps] == [("logs/p00001.a01.jsonl", True)]
    assert files(run) == files(tmp_path / "h1")
    log.data = log.data[:200]  # an older copy, cut in the middle of a line
    log.write()
    assert collect(run, tmp_path / "h1").steps == []
    assert b"longer" in (run / "logs" / "p00001.a01.jsonl").read_bytes()


def test_a_part_of_a_line_that_a_restart_has_taken_away_is_no_conflict(tmp_path: Path) -> None:
    log = host(tmp_path / "h1", 1)
    whole = log.data
    log.data += b'{"time":1, torn'
    log.write()
    run = tmp_path / "run"
    collect(run, tmp_path / "h1")
    log.data = whole
    log.say(9, "went on, and is longer than before").write()
    assert collect(run, tmp_path / "h1").conflicts == []
    assert files(run) == files(tmp_path / "h1")


def test_a_rotated_segment_is_known_under_its_new_name(tmp_path: Path) -> None:
    first = host(tmp_path / "h1", 1)
    run = tmp_path / "run"
    collect(run, tmp_path / "h1")
    first.say(9, "last of it").write("p00001.a01.0000.jsonl")
    Written(tmp_path / "h1", 1, processes=3, segment=1, pid=2).say(10, "next").write()
    made = collect(run, tmp_path / "h1")
    assert (made.conflicts, len(made.moves)) == ([], 1)
    assert files(run) == files(tmp_path / "h1")
    # A copy of before, with the earlier name, adds nothing.
    old = Written(tmp_path / "old", 1, processes=3)
    old.write()
    again = collect(run, tmp_path / "old")
    assert (again.steps, again.conflicts) == ([], [])


class FillsUp(FolderPlace):
    """A host whose log reaches its segment's end just before the n-th look at anything there."""

    def __init__(self, log: Written, moment: int) -> None:
        super().__init__(log.run)
        self._log = log
        self._moment = moment
        self.looks = 0

    def sizes(self) -> dict[str, int]:
        self._look()
        return super().sizes()

    def read(self, path: str, start: int, end: int) -> bytes:
        self._look()
        return super().read(path, start, end)

    def _look(self) -> None:
        if self.looks == self._moment:
            self._log.say(10, "last of it").write("p00001.a01.0000.jsonl")
            after = Written(self.folder, 1, processes=3, segment=1, pid=2)
            after.say(11, "longer than what was before" * 30).write()
        self.looks += 1


def test_a_segment_that_fills_up_at_any_moment_is_no_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first look at it, between two, while it is read."""
    for moment in range(40):
        folder, run = tmp_path / f"h{moment}", tmp_path / f"run{moment}"
        log = host(folder, 1)
        collect(run, folder)
        log.say(9, "longer").write()
        place = FillsUp(log, moment)
        with monkeypatch.context() as patched:
            patched.setattr("sightline.gathering.open_place", lambda _, place=place: place)
            made = collect(run, folder)
        assert (made.conflicts, made.refused) == ([], []), moment
        if place.looks <= moment:
            break
        collect(run, folder)
        assert files(run) == files(folder), moment
    else:
        pytest.fail("it reads more often than was tried")


def test_what_is_different_is_a_conflict_and_stays(tmp_path: Path) -> None:
    host(tmp_path / "h1", 1)
    run = tmp_path / "run"
    collect(run, tmp_path / "h1")
    path = tmp_path / "h1" / "logs" / "p00001.a01.jsonl"
    path.write_bytes(path.read_bytes().replace(b"line 1", b"LINE 1") + b'{"more":1}\n')
    profile = next((tmp_path / "h1" / "profiles").rglob("*.pb"))
    profile.write_bytes(b"other")
    before = files(run)
    made = collect(run, tmp_path / "h1")
    assert sorted(name for name, _ in made.conflicts) == [
        "logs/p00001.a01.jsonl", profile.relative_to(tmp_path / "h1").as_posix(),
    ]  # fmt: skip
    assert files(run) == before


def test_processes_of_the_same_number_of_other_runs_never_mix(tmp_path: Path) -> None:
    host(tmp_path / "all" / "h1", 1)
    host(tmp_path / "all" / "other", 2, run_id="r2")
    run = tmp_path / "run"
    host(run, 0)
    made = collect(run, tmp_path / "all")
    assert made.refused == [(str(tmp_path / "all" / "other"), "is of run r2, and this is run r1")]
    assert "logs/p00001.a01.jsonl" in files(run)
    assert "logs/p00002.a01.jsonl" not in files(run)
    with pytest.raises(RunDirectoryError, match=r"of several: r1 \(.*\), r2 \(.*\)"):
        plan(tmp_path / "fresh", [str(tmp_path / "all")])
    # One file of another run within a directory: it alone, and what does not tell its run.
    shutil.copy(tmp_path / "all" / "other" / "logs" / "p00002.a01.jsonl", tmp_path / "all" / "h1" / "logs")
    refused = collect(run, tmp_path / "all" / "h1").refused
    assert [name.rpartition("/")[2] for name, _ in refused] == ["p00002.a01.jsonl", "host.xplane.pb"]


def test_run_json_is_that_of_the_latest_attempt(tmp_path: Path) -> None:
    for name, attempt in (("new", 2), ("old", 1)):
        host(tmp_path / name, 0)
        facts = {"run_id": "r1", "attempt": attempt, "config": "x" * (9 - attempt)}
        (tmp_path / name / "run.json").write_bytes(orjson.dumps(facts))
    run = tmp_path / "run"
    collect(run, tmp_path / "old")
    assert collect(run, tmp_path / "new").conflicts == []
    assert collect(run, tmp_path / "old").conflicts == []
    assert orjson.loads((run / "run.json").read_bytes())["attempt"] == 2


def test_a_url_is_a_place_too(tmp_path: Path) -> None:
    log = host(tmp_path / "h1", 1)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "h1"), "/bucket/runs/grpo", recursive=True)
    run = tmp_path / "run"
    made = collect(run, "memory://bucket/runs/grpo")
    assert files(run) == files(tmp_path / "h1")
    log.say(9, "longer").write()
    memory.put_file(str(log.path), "/bucket/runs/grpo/logs/p00001.a01.jsonl")
    made = collect(run, "memory://bucket/runs")
    assert [step.name for step in made.steps] == ["logs/p00001.a01.jsonl"]
    assert files(run) == files(tmp_path / "h1")
    memory.rm("/bucket", recursive=True)
    with pytest.raises(RunDirectoryError, match=r"memory://bucket/runs (is not there|holds no files)"):
        collect(run, "memory://bucket/runs")


def test_names_in_a_store_cannot_lead_out_of_the_run_directory(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    host(tmp_path / "h1", 1)
    memory.put(str(tmp_path / "h1"), "/bad/run", recursive=True)
    name = "/bad/run/profiles/p00001.a01.s1/../../../../out"
    memory.store[name] = type(memory.store["/bad/run/logs/p00001.a01.log"])(memory, name, b"x")
    assert any(".." in each for each in memory.find("/bad"))
    made = collect(tmp_path / "deep" / "er" / "run", "memory://bad")
    memory.rm("/bad/run", recursive=True)
    assert all(".." not in step.name for step in made.steps)
    assert files(tmp_path / "deep" / "er" / "run") == files(tmp_path / "h1")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["deep", "h1"]


@pytest.mark.parametrize("url", ["nosuch://a/b", "gs://bucket/run"])
def test_a_url_that_nobody_knows_says_what_is_missing(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=url):
        plan(tmp_path, [url])


def test_a_place_that_fails_in_the_middle_leaves_whole_files_only(tmp_path: Path) -> None:
    host(tmp_path / "h1", 1)
    big = tmp_path / "h1" / "traces" / "p00001.a01.0000.json"
    big.write_bytes(big.read_bytes() + b"x" * (9 << 20))
    run = tmp_path / "run"
    made = plan(run, [str(tmp_path / "h1")])
    pieces = carry_out(made, run)
    while next(pieces) < 4 << 20:
        pass
    pieces.close()  # as Ctrl-C does
    assert all(data == files(tmp_path / "h1")[name] for name, data in files(run).items())
    os.truncate(big, 5 << 20)
    for _ in carry_out(made, run):
        pass
    assert made.moved == ["traces/p00001.a01.0000.json"]  # it comes with the next time
    assert all(not name.endswith(".part") for name in files(run))


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    host(tmp_path / "h1", 1)
    run = tmp_path / "run"
    made = plan(run, [str(tmp_path / "h1")])
    first = carry_out(made, run)
    next(first)
    with pytest.raises(RunDirectoryError, match="another `sightline collect`"):
        next(carry_out(made, run))
    first.close()


def test_it_is_told_which_processes_are_complete(tmp_path: Path) -> None:
    run = tmp_path / "run"
    Written(run, 0, processes=6).say(1, "a").end().write()
    Written(run, 1, processes=6).say(1, "killed").write()
    Written(run, 2, processes=6).write("p00002.a01.0000.jsonl")
    Written(run, 2, processes=6, segment=1).end().write()
    (run / "traces").mkdir()
    (run / "traces" / "p00004.a01.0000.json").write_bytes(b"[\n")
    assert processes_of(run) == (1, 6, [0, 2], [1, 4], [3, 5])


def test_long_files_are_compared_by_samples_and_in_full_while_they_are_brought(tmp_path: Path) -> None:
    """A difference that no sample meets is met then, and is a conflict."""
    line = b'{"message":"' + b"x" * 99 + b'"}\n'
    log = Written(tmp_path / "h1", 1)
    log.data += line * 20_000
    log.write()
    run = tmp_path / "run"
    collect(run, tmp_path / "h1")
    memory = fsspec.filesystem("memory")
    at = len(log.data) - 200_000  # between two samples
    other = log.data[:at] + b"y" + log.data[at + 1 :] + line
    memory.pipe_file("/long/logs/p00001.a01.jsonl", other)
    before = files(run)
    made = plan(run, ["memory://long"])
    assert len(made.steps) == 1
    for _ in carry_out(made, run):
        pass
    memory.rm("/long", recursive=True)
    assert [name for name, _ in made.conflicts] == ["logs/p00001.a01.jsonl"]
    assert (made.steps, files(run)) == ([], before)


def test_more_than_the_disk_holds_is_refused_before_anything_is_brought(tmp_path: Path) -> None:
    log = Written(tmp_path / "h1", 1)
    log.write()
    os.truncate(log.path, 10 << 40)  # with a hole, which takes no space here
    run = tmp_path / "run"
    with pytest.raises(RunDirectoryError, match=r"11 TB are to be brought, and .* are free"):
        collect(run, tmp_path / "h1")
    assert files(run) == {}


def test_files_of_a_newer_sightline_are_brought_as_they_are(tmp_path: Path) -> None:
    log = Written(tmp_path / "h1", 1, processes=2)
    log.data = log.data.replace(b'"format":1', b'"format":2')
    run = tmp_path / "run"
    assert collect(run, log.write())
    assert (run / "logs" / log.path.name).read_bytes() == log.data
    assert processes_of(run).missing == []  # as far as is known


def test_a_hole_is_brought_as_a_hole(tmp_path: Path) -> None:
    """It costs neither time nor disk, and what lies behind it comes; then what is new behind that."""
    log = host(tmp_path / "h1", 1)
    put_hole(log.path, b"\n", b'{"time":1700000000.5,"message":"behind"}\n', size=1 << 30)
    run = tmp_path / "run"
    host(run, 0)
    begin = read_bytes()
    assert collect(run, tmp_path / "h1").conflicts == []
    copy = run / log.path.relative_to(tmp_path / "h1")
    assert copy.stat().st_size == log.path.stat().st_size
    assert copy.stat().st_blocks * 512 < 32 << 20
    with log.path.open("ab") as file:
        file.write(b'{"time":1700000001.5,"message":"later"}\n')
    made = collect(run, tmp_path / "h1")
    assert [step.name for step in made.steps] == [str(copy.relative_to(run))]
    assert copy.stat().st_size == log.path.stat().st_size
    with copy.open("rb") as file:
        assert list(WholeLines(file.fileno()))[-2:] == [
            b'{"time":1700000000.5,"message":"behind"}', b'{"time":1700000001.5,"message":"later"}'
        ]  # fmt: skip
    put_hole(log.path, size=1 << 30)
    assert collect(run, tmp_path / "h1").conflicts == []
    assert read_bytes() - begin < 8 * BOUND
