"""What is told of a run, from its journal, its logs and its files."""

from __future__ import annotations

import math
import traceback
from pathlib import Path

import orjson
import pytest

import sightline as sl
from sightline.errors import JournalError, RunDirectoryError
from sightline.watching.facts import headline
from sightline.watching.live import Watch
from sightline.watching.log_tail import LogTail
from tests.watching.journals import (
    HOSTILE,
    commit,
    facts,
    line,
    logged,
    process_values,
    rich_run,
    run_line,
    shown,
    steps_event,
    warning,
    written,
)


def test_best_and_worst_samples_are_by_the_column_that_the_call_named(tmp_path: Path) -> None:
    """And it is among the numbers that a narrow terminal shows, though the row has many."""
    names = [f"c{at}" for at in range(12)]
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        of_all = {name: [0.0] * 3 for name in names}
        sl.sample(
            "rollouts", rank_by="score", text=["a", "b", "c"], reward=[5, 1, 3], **of_all, score=[2, 8, 4]
        )
        run.commit(0)
    assert run.dir is not None
    found = facts(run.dir)
    ((best, first), (worst, last)) = found.samples[0].rows
    assert (best, first["text"], worst, last["text"]) == ("best", "b", "worst", "a")
    assert "best  score 8  reward 1" in shown(run.dir, 80)


def test_a_run_with_everything_is_told_in_full(tmp_path: Path) -> None:
    found = facts(rich_run(tmp_path / "run"))
    assert (found.name, found.state.state, found.progress.step, found.progress.total) == (
        "grpo", "crashed", 59, 200,
    )  # fmt: skip
    assert (found.progress.step_s, found.progress.left_s, found.progress.share) == (2.0, 280.0, 0.3)
    assert [metric.key for metric in found.metrics[:3]] == [
        "train/reward/total/mean", "train/loss", "train/kl",
    ]  # fmt: skip
    assert [(stage.name, stage.seconds, stage.share) for stage in found.stages] == [
        ("rollout", pytest.approx(1.01875), pytest.approx(0.509375)),
        ("update", pytest.approx(0.5), pytest.approx(0.25)),
        ("other", pytest.approx(0.48125), pytest.approx(0.240625)),
    ]
    (slow,) = found.slow
    assert (slow.stage, slow.slow.process, slow.slow.steps, slow.slow.of_steps) == ("rollout", 13, 50, 50)
    assert (slow.slow.excess_s, slow.median_s) == (pytest.approx(0.3), 1.0)
    assert {(sink.name, sink.lag, sink.is_well) for sink in found.sinks} == {
        ("wandb", 59, False), ("jsonl", 0, True),
    }  # fmt: skip
    texts = [trouble.text for trouble in found.troubles]
    assert texts[0] == "sink wandb is 59 commits behind"
    assert "processes 5, 6 missing in 2 commits, last in step 41" in texts
    assert "train/ratio is nan first in step 30 on process 7, recorded at train.py:212" in texts
    assert "conflicts: 2, last in step 30 (obs/conflicts)" in texts
    (samples,) = found.samples
    assert [(which, row["reward"]) for which, row in samples.rows] == [("best", 1.0), ("worst", 0.0)]
    assert [(each.level, each.message) for each in found.warned] == [
        ("WARNING", "slow disk"), ("ERROR", "no container"),
    ]  # fmt: skip
    memory = next(each for each in found.hosts if each.name == "memory/used_bytes")
    assert (memory.mean, memory.peak) == (60e9, 97e9)
    assert (found.files.here, found.files.missing) == ([0], list(range(1, 16)))
    assert headline(found) == "grpo: crashed, step 59 of 199 (30 %), 2 s a step"
    assert orjson.loads(orjson.dumps(found.plain()))["metrics"][1]["key"] == "train/loss"


def test_only_the_last_steps_count(tmp_path: Path) -> None:
    found = facts(rich_run(tmp_path / "run"), window=10, patterns=["train/loss"])
    assert (found.first_step, found.last_step) == (50, 59)
    (loss,) = found.metrics
    assert loss.values.tolist() == pytest.approx([math.exp(-step / 20) for step in range(50, 60)])
    assert not any(trouble.about in ("nonfinite", "missing", "obs") for trouble in found.troubles)


def test_a_journal_without_a_commit_or_with_one_is_no_trouble(tmp_path: Path) -> None:
    """Also an empty file, and one whose first line is cut."""
    for name, lines in {
        "empty": [],
        "cut": [run_line()[:20]],
        "begun": [run_line(), steps_event(10)],
    }.items():
        found = facts(written(tmp_path / name, *lines))
        assert (found.progress.step, found.metrics, found.stages, found.troubles) == (None, [], [], [])
        assert headline(found).endswith("no commit yet")
    one = facts(
        written(tmp_path / "one", run_line(), commit(0, {"train/loss": 1.5, "time/train/step_s": 2.0}))
    )
    assert (one.progress.step, one.progress.step_s, one.metrics[0].last) == (0, None, 1.5)


def test_a_cut_line_is_waited_for(tmp_path: Path) -> None:
    whole = commit(1, {"train/loss": 7.0})
    run = written(tmp_path / "run", run_line(), commit(0, {"train/loss": 1.0}), whole[:30])
    assert facts(run).progress.step == 0
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(whole[30:])
    assert facts(run).progress.step == 1


def test_a_later_attempt_is_the_run(tmp_path: Path) -> None:
    """What it went over again is left out, and the pause before it is no step."""
    lines = [run_line(), *(commit(step, {"train/loss": 1.0}) for step in range(20))]
    lines.append(run_line(2, starts=[[1, 0, None], [2, 15, 19]], started=5000.0))
    lines.append(steps_event(40, attempt=2, start=15))
    before = facts(written(tmp_path / "before", *lines))
    assert (before.state.attempt, before.progress.step_s) == (2, None)
    lines += [commit(step, {"train/loss": 2.0}, attempt=2, moment=5000.0 + step) for step in range(15, 18)]
    found = facts(written(tmp_path / "after", *lines))
    assert (found.last_step, found.progress.step, found.progress.step_s) == (17, 17, 1.0)
    assert found.metrics[0].values.tolist() == [1.0] * 15 + [2.0] * 3
    assert "attempt 2 began at step 15, and went over 5 steps again" in [t.text for t in found.troubles]


def test_a_view_that_is_open_for_long_keeps_the_end_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.watching.live._TAIL", 10_000)
    run = written(tmp_path / "run", run_line(), *(commit(step, {"train/loss": 1.0}) for step in range(10)))
    watched = Watch(run)
    for step in range(10, 2000):
        with open(run / "metrics.jsonl", "ab") as file:
            file.write(commit(step, {"train/loss": float(step)}))
        if step % 20 == 19:
            assert watched.update()
            found = watched.facts()
            assert (found.last_step, found.metrics[0].last) == (step, step)
            assert watched._history.commits < 500
    assert not watched.update()


def test_where_processes_were_in_a_stall_that_is_over_is_told_as_past(tmp_path: Path) -> None:
    event = {"type": "event", "attempt": 1, "process": 1}
    place = {"step": 1, "waited_s": 20.0, "span": "reward", "span_s": 20.0, "at": "a.py:1 in f", "stacks": ""}
    run = written(
        tmp_path / "run", run_line(processes=2), commit(0, {}, moment=1001.0),
        line(type="event", event="stall", attempt=1, time=1011.0, step=1, waiting_for=[1]),
        line(**event, event="stacks", time=1021.0, **place),
        line(type="event", event="silent", attempt=1, time=1022.0, step=1, processes=[0]),
        commit(1, {}, moment=1030.0), line(type="event", event="finish", missing=[], attempt=1, time=1031.0),
    )  # fmt: skip
    told = [each.text for each in facts(run).troubles if each.about == "stall"]
    assert told[1:] == ["process 1 was in reward for 20 s (a.py:1 in f)", "process 0 could not say where"]


def test_how_a_run_has_ended_is_told(tmp_path: Path) -> None:
    finish = line(type="event", event="finish", missing=[], attempt=1, time=1010.0)
    failed = line(type="event", event="failed", error="ValueError: no gradient", attempt=1, time=1009.0)
    begin = [run_line(processes=2), steps_event(9), commit(0, {})]
    assert headline(facts(written(tmp_path / "good", *begin, finish))).startswith("grpo: finished")
    bad = written(tmp_path / "bad", *begin, failed, finish)
    assert headline(facts(bad)).startswith("grpo: failed")
    assert "ValueError: no gradient" in shown(bad)
    left = written(tmp_path / "left", *begin, finish.replace(b"[]", b"[1]"))
    assert "process 1 did not reach" in shown(left, 120)
    asked = written(tmp_path / "asked", *begin, line(type="event", event="sigterm", attempt=1, time=1009.0))
    assert "it was asked to end (SIGTERM)" in shown(asked)


def test_what_is_not_finite_is_told(tmp_path: Path) -> None:
    lines = [commit(step, {"train/loss": None}, nonfinite={"train/loss": "nan"}) for step in range(3)]
    found = facts(written(tmp_path / "run", run_line(), *lines))
    assert math.isnan(found.metrics[0].last)
    assert (found.metrics[0].mean, found.metrics[0].change) == (None, None)
    assert found.plain()["metrics"][0]["key"] == "train/loss"
    assert orjson.loads(orjson.dumps(found.plain()))["metrics"][0]["last"] is None


def test_parts_of_a_stage_do_not_count_twice(tmp_path: Path) -> None:
    """By their names; an evaluation every other step counts half."""
    lines = [run_line()]
    for step in range(11):
        values = {"time/train/rollout_s": 1.0, "time/train/rollout_sync_s": 0.25,
                  "time/train/rollout/decode_s": 0.5}  # fmt: skip
        if step % 2:
            values["time/eval/generate_s"] = 1.0
        lines.append(commit(step, values))
    found = facts(written(tmp_path / "run", *lines)).stages
    assert [(each.name, each.share, each.is_part) for each in found] == [
        ("train/rollout", 0.5, False), ("train/rollout/decode", 0.25, True),
        ("train/rollout_sync", 0.125, True), ("eval/generate", 0.25, False), ("other", 0.25, False),
    ]  # fmt: skip


def test_nobody_is_slow_where_all_take_the_same(tmp_path: Path) -> None:
    lines = [run_line(processes=4)]
    for step in range(5):
        lines.append(commit(step, {"time/train/update_s": 1.0}))
        lines.append(process_values(step, {"time/train/update_s": [1.0, 1.02, 1.01, 1.03]}))
    assert facts(written(tmp_path / "run", *lines)).slow == []


def test_numbers_of_any_size_are_taken(tmp_path: Path) -> None:
    """Without a warning, which would be printed into the picture."""
    lines = [run_line(processes=2)]
    for step in range(5):
        values = {"train/loss": [1.7e308, -1.7e308][step % 2], "time/train/a_s": 1.7e308, "host/x": 1e308}
        lines.append(commit(step, values))
        lines.append(process_values(step, {"time/train/a_s": [1.7e308, -1.7e308]}))
    assert "train/loss" in shown(written(tmp_path / "run", *lines))


def test_of_two_processes_the_slow_one_is_measured_by_the_other(tmp_path: Path) -> None:
    lines = [run_line(processes=2)]
    for step in range(5):
        lines.append(commit(step, {"time/train/rollout_s": 1.25}))
        lines.append(process_values(step, {"time/train/rollout_s": [1.0, 1.5]}))
    (slow,) = facts(written(tmp_path / "run", *lines)).slow
    assert (slow.slow.process, slow.slow.excess_s, slow.median_s) == (1, 0.5, 1.0)


def test_of_a_slow_stage_and_its_part_the_one_that_says_where_is_told(tmp_path: Path) -> None:
    """And what is seldom costs little, however long it takes then."""
    lines = [run_line(processes=2)]
    for step in range(50):
        own = {"time/train/rollout_s": [1.0, 1.5], "time/train/rollout_decode_s": [0.8, 1.25],
               "time/train/update_s": [2.0, 1.0], "time/train/update_sync_s": [0.4, 0.1]}  # fmt: skip
        if step == 20:
            own["time/eval/rollout_s"] = [1.0, 1.5]
        lines.append(commit(step, {"time/train/step_s": 3.0}))
        lines.append(process_values(step, own))
    slow = [(each.stage, each.slow.process) for each in facts(written(tmp_path / "run", *lines)).slow]
    assert slow == [("train/update", 0), ("train/rollout_decode", 1), ("train/update_sync", 0)]


def test_the_end_of_a_long_journal_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run line, total and attempt are known although they stand far before what is read."""
    monkeypatch.setattr("sightline.watching.live._TAIL", 1 << 16)
    lines = [run_line(), *(commit(step, {"train/loss": 1.0}) for step in range(500))]
    lines += [run_line(2, starts=[[1, 0, None], [2, 400, 499]], name="second"), steps_event(9999, attempt=2)]
    lines += [commit(step, {f"train/k{n}": 1.0 for n in range(50)}, attempt=2) for step in range(400, 900)]
    found = facts(written(tmp_path / "run", *lines))
    assert (found.name, found.state.attempt, found.progress.step) == ("second", 2, 899)
    assert found.progress.total == 9999
    assert found.first_step is not None
    assert 700 <= found.first_step < 899


def test_what_cannot_be_watched_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="is no directory"):
        facts(tmp_path / "none")
    (tmp_path / "runs").mkdir()
    written(tmp_path / "runs" / "one", run_line())
    with pytest.raises(RunDirectoryError, match="it has runs: one"):
        facts(tmp_path / "runs")
    logged(tmp_path / "elsewhere", 3, warning(1.0, "x"))
    with pytest.raises(RunDirectoryError, match=r"files of process 3 and no metrics.jsonl.*root's host"):
        facts(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="format 9"):
        facts(written(tmp_path / "newer", run_line(format=9), commit(0, {})))


def test_lines_of_others_in_a_journal_are_passed_over(tmp_path: Path) -> None:
    lines = [
        b"{torn\n",
        line(type="event", event="stall", step="x"),
        line(type="late", step=0, process="p"),
        line(type="sample", table="t", rows=[{"a": HOSTILE}], step="x"),
        commit(0, {"train/loss": 1.0}, texts={"split": HOSTILE}),
    ]
    found = facts(written(tmp_path / "run", run_line(), *lines))
    assert found.progress.step == 0
    assert [trouble.text for trouble in found.troubles] == [
        "1 snapshot came late, from an unknown process",
        "the journal: 1 line could not be read; 3 lines are not as sightline writes them: what is sound of "
        "them counts",
    ]


# --- logs --------------------------------------------------------------------------------------------------


def test_warnings_are_followed_and_those_alike_are_one(tmp_path: Path) -> None:
    tail = LogTail(tmp_path)
    assert not tail.update()
    logged(
        tmp_path, 0, warning(1.0, "a"), warning(2.0, "said", level="INFO"), warning(3.0, "b", level="ERROR")
    )
    assert tail.update()
    assert not tail.update()
    path = logged(tmp_path, 0, warning(4.0, "a"))
    logged(tmp_path, 7, warning(5.0, "a", process=7))
    with open(path, "ab") as file:
        file.write(line(**warning(6.0, "half"))[:40])
    tail.update()
    assert [(each.message, each.count, each.processes) for each in tail.warned] == [
        ("b", 1, [0]), ("a", 3, [0, 7]),
    ]  # fmt: skip
    with open(path, "ab") as file:
        file.write(line(**warning(6.0, "half"))[40:])
    tail.update()
    assert tail.warned[-1].message == "half"


def test_a_segment_that_was_renamed_is_gone_on_from(tmp_path: Path) -> None:
    path = logged(tmp_path, 0, *(warning(float(n), of) for n, of in enumerate("abcdefghi")))
    tail = LogTail(tmp_path)
    tail.update()
    logged(tmp_path, 0, warning(10.0, "last of the first"))
    path.rename(path.with_name("p00000.a01.0000.jsonl"))
    logged(tmp_path, 0, warning(20.0, "next"))
    tail.update()
    said = [(each.message, each.count) for each in tail.warned]
    assert said == [*((of, 1) for of in "abcdefghi"), ("last of the first", 1), ("next", 1)]


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    """Also one that is a single line, and lines that nobody can read."""
    words = [f"{one}{other}" for one in "abcdefghijklmnopqrst" for other in "abcdefghijklmnopqrst"]
    logged(tmp_path, 0, *(warning(float(n), f"of {of} " + "x" * 300) for n, of in enumerate(words * 5)))
    logged(tmp_path, 1, warning(1.0, "y" * 1_000_000))
    with open(logged(tmp_path, 2), "wb") as file:
        file.write(b'{"level":"WARNING" torn\n{"time":"x","level":"ERROR"}\n[1]\n\xff\xfe"level":"ERROR"\n')
    tail = LogTail(tmp_path)
    tail.update()
    assert len(tail.warned) == 100
    assert tail.warned[-1].message.startswith("of tt ")


def test_lines_of_one_template_are_one(tmp_path: Path) -> None:
    """They differ in words with digits alone; the last one is told. Others stay apart, and so do errors."""
    lines = [warning(float(n), f"retry {n % 200} of request {n // 200}") for n in range(400)]
    lines += [warning(500.0, "retry 1 of batch 2"), warning(501.0, "retry 1 of batch 2")]
    lines += [
        {**warning(600.0 + at, f"row {at}", level="ERROR"), "exception": f"Traceback\n{error}"}
        for at, error in enumerate(["KeyError: 7", "KeyError: 8", "ValueError: 8"])
    ]
    logged(tmp_path, 0, *lines)
    tail = LogTail(tmp_path)
    tail.update()
    assert [(each.message, each.count, each.is_same) for each in tail.warned] == [
        ("retry 199 of request 1", 400, False), ("retry 1 of batch 2", 2, True),
        ("row 1", 2, False), ("row 2", 1, True),
    ]  # fmt: skip
    assert tail.counts == {"errors": 3, "warnings": 402}


def test_an_exception_is_told_by_its_own_text_also_of_several_lines(tmp_path: Path) -> None:
    """Of a chain by the last one's."""
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("loss is nan\n second line\nthird") from None
    except ValueError:
        alone = traceback.format_exc()
    chain = f"{alone}\nThe above was the cause:\n\n{alone.replace('ValueError', 'OSError')}"
    logged(tmp_path, 0, *({**warning(1.0, "x", level="ERROR"), "exception": each} for each in (alone, chain)))
    tail = LogTail(tmp_path)
    tail.update()
    said = "loss is nan\n second line\nthird"
    assert [each.error for each in tail.warned] == [f"ValueError: {said}", f"OSError: {said}"]


def test_a_log_of_a_newer_version_is_left_out_and_said(tmp_path: Path) -> None:
    run = written(tmp_path / "run", run_line(processes=2), commit(0, {}))
    header = {"type": "header", "kind": "log", "run_id": "r", "attempt": 1, "process": 0}
    logged(run, 0, {**header, "format": 2}, warning(1.0, "of then"))
    logged(run, 1, {**header, "format": 1, "process": 1}, warning(1.0, "of now"))
    found = facts(run)
    assert [each.message for each in found.warned] == ["of now"]
    (trouble,) = [each for each in found.troubles if each.about == "logs"]
    assert trouble.text.startswith("logs/p00000.a01.jsonl: it has format 2")


def test_an_exception_group_is_told_by_its_own_text_and_what_is_in_it(tmp_path: Path) -> None:
    """With and without frames, nested, and where another exception came of it."""

    def raised(error: Exception) -> Exception:
        try:
            raise error
        except type(error) as caught:
            return caught

    def told(error: Exception) -> str | None:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
        logged(tmp_path, 0, {**warning(600.0, "m", level="ERROR"), "exception": text})
        tail = LogTail(tmp_path)
        tail.update()
        return tail.warned[-1].error

    of = [raised(ValueError("two\nlines")), KeyError("k"), raised(ExceptionGroup("inner", [OSError("x")]))]
    group = raised(ExceptionGroup("rollouts failed", of))
    assert told(group) == (
        "ExceptionGroup: rollouts failed (3 sub-exceptions): ValueError: two; KeyError: 'k'; "
        "ExceptionGroup: inner (1 sub-exception)"
    )
    assert told(ExceptionGroup("bare", [TypeError(str(at)) for at in range(9)])) == (
        "ExceptionGroup: bare (9 sub-exceptions): TypeError: 0; TypeError: 1; TypeError: 2; …"
    )
    later = RuntimeError("gave up")
    later.__cause__ = group
    assert told(raised(later)) == "RuntimeError: gave up"
    group.__cause__ = raised(ValueError("before"))
    assert (told(group) or "").startswith("ExceptionGroup: rollouts failed (3 sub-exceptions): ValueError")


def test_warnings_push_no_error_out(tmp_path: Path) -> None:
    words = [f"{one}{other}" for one in "abcdefghijkl" for other in "abcdefghijkl"]
    logged(tmp_path, 0, warning(1.0, "boom", level="ERROR"), *(warning(2.0, of) for of in words))
    tail = LogTail(tmp_path)
    tail.update()
    assert (len(tail.warned), tail.warned[0].message) == (100, "boom")


def test_counters_of_sessions_that_stand_still_are_not_among_the_metrics(tmp_path: Path) -> None:
    """They may be asked for, and one that moves is there; other metrics may be constant."""
    own = {f"rollout/session/{name}": 2.0 for name in ("accepted", "dropped", "failed")}
    lines = [commit(step, {"a": 1.0, **own, "rollout/session/retries": step % 3}) for step in range(9)]
    run = written(tmp_path / "run", run_line(), *lines)
    assert [each.key for each in facts(run).metrics] == ["a", "rollout/session/retries"]
    assert len(facts(run, patterns=["rollout/session/*"]).metrics) == 4


def test_what_is_not_finite_is_told_once(tmp_path: Path) -> None:
    event = line(type="event", event="nonfinite", key="a", step=1, processes=[0], nan=1, time=1.0, attempt=1)
    run = written(tmp_path / "run", run_line(), commit(0, {"a": 1.0}), event, commit(1, {"obs/nonfinite": 1}))
    assert [each.about for each in facts(run).troubles] == ["nonfinite"]


def test_who_has_dropped_out_is_told_as_long_as_it_is_out(tmp_path: Path) -> None:
    """The journal names it in one commit only; the metrics after it are of the others."""
    lines = [run_line(processes=2)]
    for step in range(30):
        fields = orjson.loads(commit(step, {"a": 1.0}, missing=[1] if step == 3 else None))
        lines.append(line(**{**fields, "expected": 2, "reported": 2 if step < 3 else 1}))
    run = written(tmp_path / "run", *lines)
    found = facts(run, window=10)
    assert [each.text for each in found.troubles if each.about == "missing"] == [
        "process 1 is out since step 3: metrics are of 1 of 2 processes"
    ]
    assert (found.plain()["out"], found.plain()["reported"]) == ({"1": 3}, (1, 2))
    back = orjson.loads(commit(30, {"a": 1.0}))
    written(run, *lines, line(**{**back, "expected": 2, "reported": 2}))
    assert not [each for each in facts(run, window=10).troubles if each.about == "missing"]


def test_what_hosts_use_is_of_the_latest_reading_of_each_process(tmp_path: Path) -> None:
    """A commit's own figure is of those that have spoken since the one before."""
    used, limit, free = "host/memory/used_bytes", "host/memory/limit_bytes", "host/disk/free_bytes"

    def values(low: float) -> dict[str, float]:
        return {f"{used}/mean": low, f"{used}/max": low, f"{limit}/max": 100.0, f"{free}/min": 5.0,
                f"{free}/mean": 5.0}  # fmt: skip

    lines = [
        run_line(processes=3),
        commit(0, values(60.0)),
        process_values(0, {used: [10.0, 90.0, 80.0], limit: [100.0, 100.0, 80.0], free: [5.0, 9.0, 7.0]}),
        commit(1, values(10.0)),
        process_values(1, {used: [12.0], limit: [100.0], free: [6.0]}),
    ]
    figures = {each.name: each for each in facts(written(tmp_path / "run", *lines)).hosts}
    memory, disk = figures["memory/used_bytes"], figures["disk/free_bytes"]
    assert (memory.mean, memory.peak, memory.limit, memory.worst) == (182 / 3, 80.0, 80.0, 2)
    assert memory.share == 1.0
    assert (disk.mean, disk.peak, disk.worst) == (22 / 3, 6.0, 0)


def test_a_pause_between_attempts_is_no_part_of_a_step(tmp_path: Path) -> None:
    lines = [run_line()]
    lines += [commit(step, {"time/update_s": 2.0}) for step in range(5)]
    lines += [run_line(2, starts=[[1, 0, None], [2, 5, 4]])]
    lines += [
        commit(step, {"time/update_s": 60.0 if step == 5 else 2.0}, attempt=2, moment=90000.0 + 2 * step)
        for step in range(5, 10)
    ]
    (stage,) = facts(written(tmp_path / "run", *lines)).stages
    assert (stage.name, stage.seconds, stage.share) == ("update", 2.0, 1.0)


def test_a_resumed_run_stands_where_it_goes_on_before_its_first_commit(tmp_path: Path) -> None:
    """By its checkpoint, or by where its loop says that it begins; the pace is that of the attempt."""
    before = [run_line(), *(commit(step, {"a": 1.0}) for step in range(20))]
    again = run_line(2, starts=[[1, 0, None], [2, 15, 19]], started=5000.0)
    for name, start, step in (("by its checkpoint", 15, 14), ("lower", 10, 9), ("from the start", 0, None)):
        lines = [*before, again, steps_event(40, attempt=2, start=start)]
        progress = facts(written(tmp_path / name, *lines)).progress
        assert (progress.step, progress.step_s, progress.left_s) == (step, None, None)
        assert progress.share == (None if step is None else (step + 1) / 40)
    lines = [*before, again, *(commit(n, {"a": 1.0}, attempt=2, moment=5000.0 + n) for n in range(15, 18))]
    assert facts(written(tmp_path / "on", *lines)).progress.step_s == 1.0


def test_the_pace_is_of_the_attempt_where_a_journal_does_not_say_how_attempts_began(tmp_path: Path) -> None:
    lines = [run_line(), *(commit(step, {"a": 1.0}) for step in range(20)), run_line(2, starts=[])]
    lines += [commit(step, {"a": 1.0}, attempt=2, moment=90_000.0 + step) for step in range(20, 24)]
    assert facts(written(tmp_path / "run", *lines)).progress.step_s == 1.0


def test_what_is_committed_before_the_first_step_ends_is_no_part_of_the_pace(tmp_path: Path) -> None:
    """As a warm-up with evaluations of its own, all in commits of step 0."""
    lines = [run_line(), *(commit(0, {"a": 1.0}, moment=1000.0 + 100 * n) for n in range(10))]
    lines += [commit(step, {"a": 1.0}, moment=1900.0 + 2 * step) for step in range(1, 5)]
    assert facts(written(tmp_path / "run", *lines)).progress.step_s == 2.0


def test_who_is_out_stays_out_when_final_values_are_committed(tmp_path: Path) -> None:
    """They are one process's, and say nothing of the others."""
    lines = [run_line(processes=2)]
    for step in range(4):
        fields = orjson.loads(commit(step, {"a": 1.0}, missing=[1] if step == 1 else None))
        lines.append(line(**{**fields, "expected": 2, "reported": 2 if step < 1 else 1}))
    lines.append(commit(4, {"eval/accuracy": 1.0}))
    found = facts(written(tmp_path / "run", *lines))
    assert (found.out, found.reported) == ({1: 1}, (1, 2))
