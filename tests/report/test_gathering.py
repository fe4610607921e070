"""What goes into a page, before it is one."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sightline.report import gather
from sightline.report.distributions import _on_grid
from sightline.report.headline import headline
from sightline.report.host_views import host_views
from sightline.report.log_lines import LogLines, log_lines
from sightline.report.other_names import alias_names
from sightline.report.packing import Packer, as_json
from sightline.report.problems import problems
from sightline.report.process_maps import slow_process
from sightline.report.sample_rows import sample_tables
from sightline.report.time_shares import shares
from sightline.run_logs.files import Damage
from sightline.runs.run_state import state_of
from sightline.views.history import History, ProcessTable
from tests.report.runs import RunFiles, full_run
from tests.timeline.live import Live


def unpacked(data: bytes) -> tuple[Any, bytes]:
    whole = gzip.decompress(data)
    length = int.from_bytes(whole[:4], "little")
    return orjson.loads(whole[4 : 4 + length]), whole[4 + length :]


def array(ref: list[Any], blob: bytes) -> Any:
    kind, offset, count = ref
    found = np.frombuffer(blob, {"f4": "<f4", "f8": "<f8", "d4": "<i4"}[kind], count, offset)
    return np.cumsum(found, dtype=np.int64) if kind == "d4" else found


def history_of(path: Path) -> History:
    history = History(path)
    history.update()
    return history


def test_arrays_come_back_as_they_went_in_and_equal_ones_once() -> None:
    packer = Packer()
    steps, huge = np.array([3, 5, 100_000]), np.array([0, 1 << 40])
    exact, rough = np.array([1e9, 1e9 + 1]), np.array([0.5, np.nan, np.inf])
    refs = [packer.add(each) for each in (steps, huge, exact, rough, steps.copy())]
    assert refs[0] == refs[4]
    meta, blob = unpacked(packer.packed({"refs": refs}))
    for ref, given in zip(meta["refs"], (steps, huge, exact, rough), strict=False):
        np.testing.assert_array_equal(array(ref, blob), given)
    assert [ref[0] for ref in refs] == ["d4", "f8", "f8", "f4", "d4"]


def test_any_plain_data_is_json() -> None:
    said = as_json({"\ud800": [float("inf"), 1 << 70, np.float32(0.5), {1: Path("x")}, "\u2028</script>"]})
    assert b"Infinity" not in said
    assert said.decode().startswith('{"')


def test_curves_hold_every_value_of_a_short_run_and_what_was_gone_over(tmp_path: Path) -> None:
    run = full_run(tmp_path / "run")
    meta, blob = unpacked(gather([run.path]).data)
    (found,) = meta["runs"]
    curves = {each["key"]: each for each in found["curves"]["keys"]}
    loss = curves["train/loss"]
    history = history_of(run.path)
    np.testing.assert_array_equal(array(loss["x"], blob), history.series("train/loss").steps)
    np.testing.assert_allclose(array(loss["y"], blob), history.series("train/loss").values, atol=1e-4)
    assert array(loss["over"]["x"], blob).tolist() == list(range(30, 40))
    assert loss["bad"] == 1
    assert found["curves"]["bands"]["train/reward/total"].keys() == {"mean", "std", "min", "max"}


def test_shares_of_timings_add_up_also_where_they_overlap(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):  # a step takes a second
        run.commit(
            step, {"time/train/rollout_s": 0.9, "time/train/generate_s": 0.8, "time/train/step_s": 1.0}
        )
    found = shares(history_of(run.path), [run.path])
    assert found is not None
    assert found.source == "timings"
    assert sum(found.kinds.values()) == pytest.approx(1)
    assert "overlap" in found.note


def test_nothing_timed_is_no_share(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    assert shares(history_of(run.path), [run.path]) is None


def test_the_slow_process_is_named_and_chance_is_not() -> None:
    even = np.full((20, 4), 1.0)
    assert slow_process(ProcessTable(np.arange(20), 1, [0, 1, 2, 3], even)) is None
    slow = even.copy()
    slow[:, 2] += 0.5
    slow[7, 2] += 1
    slow[3] = np.nan
    found = slow_process(ProcessTable(np.arange(20), 1, [4, 5, 6, 7], slow))
    assert found is not None
    assert (found["process"], found["steps"], found["worst_step"], found["chronic"]) == (6, 19, 7, True)


def test_bins_are_spread_over_the_grid_without_loss() -> None:
    shares_of = _on_grid(np.array([0.0, 1.0, 4.0]), np.array([30.0, 10.0]), np.linspace(0, 4, 9))
    assert shares_of.sum() == pytest.approx(1)
    assert shares_of[:2].sum() == pytest.approx(0.75)


def test_problems_are_joined_where_they_go_on_and_in_the_order_of_time(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):
        more: dict[str, Any] = {"missing": [3]} if 2 <= step < 5 else {}
        if step in (6, 7, 9):
            more["nonfinite"] = {"a": "nan"}
        run.commit(step, {"a": None if "nonfinite" in more else 1.0}, **more)
    run.finish()
    found, _ = problems(history_of(run.path), LogLines([], {}, 0, Damage()))
    assert [(each.kind, each.step, each.times) for each in found] == [
        ("attempt", 0, 1), ("missing", 2, 3), ("non-finite", 6, 2), ("non-finite", 9, 1), ("end", None, 1),
    ]  # fmt: skip


def test_a_stall_says_who_was_where_for_how_long(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run", processes=4)
    run.begin()
    for step in range(7):
        run.commit(step, {"a": 1.0})
    at = run.time
    run.say("event", event="stall", time=at + 11, step=7, seconds=11.0, waiting_for=[2, 3])
    place = {"step": 6, "waited_s": 11.2, "span": "reward", "span_s": 11.0, "at": "rollout.py:88 in score"}
    run.say("event", event="stacks", time=at + 11, process=2, stacks="File rollout.py", **place)
    run.say("event", event="silent", time=at + 22, processes=[3])
    going_on, _ = problems(history_of(run.path), LogLines([], {}, 0, Damage()))
    where = "has been in reward for 11 s (rollout.py:88 in score)"
    assert [(each.kind, each.text) for each in going_on[1:]] == [
        ("stall", f"step 7 waits for processes 2, 3: process 2 {where}; process 3 cannot say where")
    ]
    run.say("event", event="resumed", time=at + 41, step=7, seconds=41.0, missing=[3])
    _, stall = problems(history_of(run.path), LogLines([], {}, 0, Damage()))[0]
    assert stall.text == (
        "step 7 waited 41 s for processes 2, 3: process 2 was in reward for 41 s (rollout.py:88 in score); "
        "process 3 could not say where; it went on without process 3"
    )
    assert (stall.process, stall.time, stall.until) == (None, at, at + 41)
    assert "File rollout.py" in stall.more


def test_what_the_logs_say_of_a_stall_or_of_a_value_that_is_not_finite_again_is_not_told_twice(
    tmp_path: Path,
) -> None:
    """The stacks of all threads, which only a log has, lie in the row of the stall; what is new stays."""
    run = RunFiles(tmp_path / "run", processes=2)
    run.begin()
    run.commit(0, {"a": 1.0})
    at = run.time
    run.say("event", event="stall", time=at + 11, step=1, seconds=11.0, waiting_for=[1])
    place = {"step": 0, "waited_s": 11.2, "at": "rollout.py:88 in score"}
    run.say("event", event="stacks", time=at + 11, process=1, stacks="main thread", **place)
    run.time = at + 20
    run.say("event", event="nonfinite", key="a", step=1, processes=[1], site="t.py:3", time=at + 20, nan=1)
    run.commit(1, {"a": None}, nonfinite={"a": "nan"})
    run.say("event", event="resumed", time=run.time, step=1, seconds=20.0, missing=[])
    run.commit(2, {"a": None}, nonfinite={"a": "nan"})

    def warned(time: float, message: str, logger: str = "sightline") -> dict[str, Any]:
        return {"time": time, "level": "WARNING", "logger": logger, "message": message}

    again = "no step has been complete for 11 s; step 1 waits for 1 of 2 processes: process 1 (last step 0)"
    run.log(
        0,
        warned(at + 11, again),
        warned(at + 12, "process 1 has not committed for 11 s (rollout.py:88 in score)"),
        warned(
            at + 20, "'a' has non-finite values (1) at step 1 on process 1, recorded at t.py:3 (said once)"
        ),
        warned(at + 21, "going on after 20 s: step 1 is complete"),
        warned(at + 500, again),
        warned(at + 13, again, "somebody"),
        warned(at + 20, "'b' has non-finite values (1) at step 1"),
    )
    run.log(1, warned(at + 11, "open spans: reward (11 s); the threads are at\nFile all.py"))
    found, _ = problems(history_of(run.path), log_lines([run.path]))
    assert [(each.kind, each.text[:30]) for each in found] == [
        ("attempt", "attempt 1 begins, 2 processes"),
        ("stall", "step 1 waited 21 s for process"),
        ("warning", "somebody: no step has been com"),
        ("warning", "sightline: 'b' has non-finite "),
        ("non-finite", "a is nan in steps 1 to 2, firs"),
        ("warning", "sightline: no step has been co"),
    ]
    assert "File all.py" in found[1].more
    assert found[4].text == "a is nan in steps 1 to 2, first on process 1, recorded at t.py:3"
    assert (found[4].process, found[4].times) == (1, 2)


def test_each_attempt_tells_of_its_own_values_that_are_not_finite(tmp_path: Path) -> None:
    """Also where it goes over the same step again; what no commit shows is told by its event."""
    run = RunFiles(tmp_path / "run")
    for attempt in range(2):
        run.begin(attempt)
        for step in range(attempt, 4):
            if step == 2:
                where = {"key": "a", "step": 2, "processes": [attempt], "time": run.time}
                run.say("event", event="nonfinite", **where)
            run.commit(step, {"a": None}, nonfinite={"a": "inf"}) if step == 2 else run.commit(
                step, {"a": 1.0}
            )
    run.say("event", event="nonfinite", key="b", step=3, processes=[0], site="x.py:1", time=run.time + 1)
    found, _ = problems(history_of(run.path), LogLines([], {}, 0, Damage()))
    assert [each.text for each in found] == [
        "attempt 1 begins, 1 process",
        "a is inf in step 2, on process 0",
        "attempt 1 ended without saying so",
        "attempt 2 begins, 1 process, at step 1: it goes over 3 steps again",
        "a is inf in step 2, on process 1",
        "b: first non-finite value, on process 0, recorded at x.py:1",
    ]


def test_an_attempt_that_was_killed_ends_where_it_was_heard_of_last(tmp_path: Path) -> None:
    """The last one only if nothing is at work on it any more."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    run.commit(1, {"a": 1.0})
    first = run.time
    run.time += 3600
    run.begin(1)
    run.finish()
    run.begin(2)
    run.commit(2, {"a": 1.0})

    def ends(goes_on: bool) -> list[tuple[float, int | None, str]]:
        found, _ = problems(history_of(run.path), LogLines([], {}, 0, Damage()), goes_on=goes_on)
        return [(each.time, each.step, each.text) for each in found if each.kind == "crash"]

    assert ends(True) == [(first, 1, "attempt 1 ended without saying so")]
    assert ends(False) == [*ends(True), (run.time, 2, "attempt 3 ended without saying so")]
    run.finish()
    assert ends(False) == ends(True)


def test_a_stages_own_time_is_of_the_steps_that_its_processes_took(tmp_path: Path) -> None:
    """Though one of them drops out after the first of four."""
    run = RunFiles(tmp_path / "run", processes=2)
    run.begin()
    run.commit(0, {"a": 1.0})
    for process, steps in enumerate((4, 1)):
        live = Live(run.path, process, processes=2)
        for step in range(steps):
            at = step * 1_000_000
            live.span("update", at, 500_000, args={"step": step})
            live.span("step", at, 1_000_000, cat="step", args={"step": step})
        live.write()
    found = shares(history_of(run.path), [run.path])
    assert found is not None
    assert found.source == "traces"
    assert {row["stage"]: row["own"] for row in found.stages} == {"update": pytest.approx(0.5)}


def test_who_is_out_is_told_at_the_top_and_for_how_long_it_was(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run", processes=4)
    run.begin()
    for step in range(10):
        missing = {4: {"missing": [1, 3]}}.get(step, {})
        run.commit(step, {"a": 1.0}, expected=4, reported=4 if step < 4 else 2 if step < 7 else 3, **missing)
        if step == 7:
            run.say("late", step=4, k=0, process=1, time=run.time, values={})
    history = history_of(run.path)
    found, _ = problems(history, LogLines([], {}, 0, Damage()))
    missing = [each for each in found if each.kind == "missing"]
    assert [(each.text, each.process, each.until) for each in missing] == [
        ("process 3 is out since step 4: metrics are of 3 of 4 processes", 3, history.last_time),
        ("process 1 missing in step 4", 1, None),
    ]
    figures = headline(history, state_of(run.path))
    assert (figures["out"], figures["reported"]) == ({"3": 4}, (3, 4))
    assert figures["away"] == [missing[0].text]


def test_times_are_those_of_the_attempts_without_the_pause_between_them(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):
        run.commit(step, {"a": 1.0, "time/update_s": 0.5})
    run.time += 3600
    run.begin(8)
    for step in range(8, 12):
        run.commit(step, {"a": 1.0, "time/update_s": 0.5})
    history = history_of(run.path)
    found = headline(history, state_of(run.path))
    assert (found["wall_s"], found["elapsed_s"]) == (14.0, 3614.0)
    timed = shares(history, [run.path])
    assert timed is not None
    assert (timed.stages[0]["own"], timed.stages[0]["share"]) == (0.5, 0.5)
    # Of 14 s ten steps whose beginning is known, and of the first of each attempt its half second.
    assert found["goodput"] == pytest.approx(12 * 0.5 / 14)
    assert found["kinds"]["outside"] == pytest.approx(1 - 11 / 14)
    assert timed.steps.tolist() == list(range(12))


def test_hosts_have_the_latest_and_the_largest_of_each_process_and_the_least_of_what_is_free(
    tmp_path: Path,
) -> None:
    run = RunFiles(tmp_path / "run", processes=2)
    run.begin()
    for step, (size, free) in enumerate([(5.0, 9.0), (9.0, 3.0), (7.0, 8.0)]):
        by_process = {"host/process/rss_bytes": [size, None], "host/disk/free_bytes": [free, free]}
        run.commit(step, {"host/process/rss_bytes/mean": size, "host/alone": size}, by_process=by_process)
    packer = Packer()
    views = {view["key"]: view for view in host_views(history_of(run.path), packer)}
    assert views.keys() == {"host/process/rss_bytes", "host/disk/free_bytes", "host/alone"}
    assert views["host/process/rss_bytes"]["rows"] == [[0, 7.0, 2, 9.0, 1]]
    assert views["host/disk/free_bytes"]["rows"] == [[0, 8.0, 2, 3.0, 1], [1, 8.0, 2, 3.0, 1]]
    assert views["host/alone"]["rows"] == [[None, 7.0, 2, 9.0, 1]]


def test_every_evaluation_is_judged_by_its_name_and_old_names_by_nobody(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin(aliases={"eval/accuracy/mean": ["eval/acc"], "throughput/train/tokens_per_s": ["tokens_per_s"]})
    up = ("eval/accuracy/mean", "eval/hr@10", "eval/pass@1", "eval_full/reward/total/mean")
    down = ("eval/loss", "eval/perplexity", "eval/invalid")
    neither = ("eval/questions", "eval/reward/total/std", "eval/accuracy/count", "eval/lossless_length")
    rates = {"tokens_per_s": 1.0, "throughput/train/tokens_per_s": 1.0}
    for step, value in enumerate((1.0, 3.0, 2.0)):
        run.commit(step, dict.fromkeys((*up, *down, *neither, "eval/acc"), value) | rates)
    found = headline(history_of(run.path), state_of(run.path))
    best = {each["key"]: each["value"] for each in found["best"]}
    assert best == dict.fromkeys(up, 3.0) | dict.fromkeys(down, 1.0)
    assert found["best"][0]["key"] == "eval/accuracy/mean"
    assert found["throughput"]["key"] == "throughput/train/tokens_per_s"


def test_logs_give_their_warnings_and_errors_by_time(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.log(
        1, {"time": 2.0, "level": "ERROR", "message": "b"}, {"time": 1.0, "level": "INFO", "message": "x"}
    )
    run.log(0, {"time": 1.0, "level": "WARNING", "message": "a"})
    with open(run.path / "logs" / "p00000.a01.jsonl", "ab") as file:
        file.write(b'{"time":3,"level":"WARNING","mess')
    found = log_lines([run.path])
    assert [each.line.record["message"] for each in found.said] == ["a", "b"]
    assert (sum(found.skipped.values()), found.left_out, bool(found.damage)) == (0, 0, False)


def test_of_logs_that_are_too_long_the_ends_are_read_and_how_much_was_not(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run", processes=2)
    run.log(0, *({"time": float(i), "level": "WARNING", "message": f"{i:06d}"} for i in range(40_000)))
    run.log(1, {"time": 1.0, "level": "WARNING", "message": "short"})
    found = log_lines([run.path], room=400_000)
    said = {each.line.record["message"] for each in found.said}
    assert {"short", "039999"} <= said
    assert "000000" not in said
    size = sum(path.stat().st_size for path in run.path.glob("logs/*"))
    assert size - 1_000_000 < found.left_out < size - 390_000


def test_of_too_many_warnings_the_ends_are_shown_and_every_error_between_them(tmp_path: Path) -> None:
    """All are counted."""
    run = RunFiles(tmp_path / "run")
    warnings = [{"time": float(i), "level": "WARNING", "message": f"{i}"} for i in range(6000)]
    error = {"time": 3000.5, "level": "ERROR", "message": "disk full"}
    run.log(0, *warnings[:3001], error, *warnings[3001:])
    run.begin()
    found, left_out = problems(history_of(run.path), log_lines([run.path]))
    assert [each.text for each in found if each.kind == "error"] == [": disk full"]
    shown = [each.text for each in found if each.kind == "warning"]
    assert (shown[0], shown[499], shown[500], shown[-1]) == (": 0", ": 499", ": 5500", ": 5999")
    assert left_out == {"warning": 5000}


def test_what_many_processes_say_again_and_again_is_one_row(tmp_path: Path) -> None:
    """With whose it is, how often and until when; after a pause it is a row of its own."""
    run = RunFiles(tmp_path / "run", processes=64)
    run.begin()
    for process in range(64):
        said = (
            {"time": step * 10.0 + process / 100, "level": "WARNING", "message": "no sandbox", "step": step}
            for step in (*range(50), 200)
        )
        run.log(process, *said)
    found, left_out = problems(history_of(run.path), log_lines([run.path]))
    rows = [each for each in found if each.kind == "warning"]
    assert [(each.times, each.step, each.process, each.until) for each in rows] == [
        (64 * 50, 0, None, 490.63), (64, 200, None, 2000.63),
    ]  # fmt: skip
    assert rows[0].more == "3,200 times by processes 0-63, until step 49"
    assert left_out == {}


def test_what_is_said_all_the_time_is_shown_at_the_end_too(tmp_path: Path) -> None:
    """Though its first time lies where too many others are left out."""
    run = RunFiles(tmp_path / "run")
    lines = (
        {"time": i / 10, "level": "WARNING", "message": "again" if i > 700 and i % 2 else f"{i}"}
        for i in range(6000)
    )
    run.log(0, *lines)
    found = log_lines([run.path])
    again = [each for each in found.said if each.line.record["message"] == "again"]
    assert again
    assert again[-1].last_ns == 599_900_000_000
    assert sum(each.times for each in found.said) + found.skipped["warning"] == 6000


def test_each_kind_of_problem_keeps_what_the_others_do_not_need(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(0, 8000, 2):  # with gaps, so that each is a row of its own
        run.commit(step, {"a": None}, nonfinite={"a": "nan"})
        run.commit(step + 1, {"a": 1.0})
    run.log(0, *({"time": float(i), "level": "ERROR", "message": f"{i}"} for i in range(800)))
    found, left_out = problems(history_of(run.path), log_lines([run.path]))
    assert sum(each.kind == "error" for each in found) == 800
    assert sum(each.kind == "non-finite" for each in found) + left_out["non-finite"] == 4000
    assert 2990 < len(found) <= 3000


def test_sample_rows_are_those_of_the_files_and_of_the_journal_where_files_are_not_here(
    tmp_path: Path,
) -> None:
    """In full, without what was gone over; of a table of which there are more than 500 some of each step."""
    run = RunFiles(tmp_path / "run", processes=3)
    run.begin()

    def record(step: int, rows: int, **more: object) -> None:
        run.commit(step, {"a": 1.0})
        shown = [{"process": process, "n": 0, "text": "abc… [1 of 4 characters cut]"} for process in range(3)]
        run.say("sample", seq=run.seq, step=step, k=0, table="a/rollouts", recorded=3 * rows, rows=shown)

    for step in range(10):
        record(step, 4)
    run.begin(8)
    for step in range(8, 10):
        record(step, 4)
    of = {1: range(10), 2: range(8, 10)}
    for process in range(2):
        for attempt, steps in of.items():
            rows = [{"step": step, "n": n, "text": f"abcd{attempt}"} for step in steps for n in range(4)]
            run.samples("a/rollouts", process, rows, attempt=attempt)
    (found,) = sample_tables(history_of(run.path), [run.path])
    assert (found["table"], found["recorded"]) == ("a/rollouts", 12 * 12)
    assert found["columns"] == ["step", "n", "text", "process"]
    rows = found["rows"]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert sum(row[3] < 2 for row in rows) == 10 * 4 * 2
    assert {row[2] for row in rows if row[0] >= 8 and row[3] < 2} == {"abcd2"}
    assert {row[2] for row in rows if row[3] == 2} == {"abc… [1 of 4 characters cut]"}
    for process in range(2):
        rows = [{"step": step, "n": n, "text": "new"} for step in range(8, 10) for n in range(200)]
        run.samples("a/rollouts", process, rows, attempt=2)
    (found,) = sample_tables(history_of(run.path), [run.path])
    assert len(found["rows"]) == 500
    assert {row[0] for row in found["rows"]} == set(range(10))
    assert sum(row[0] == 9 for row in found["rows"]) > 250


@pytest.mark.parametrize("said", [{}, {"ranked_by": "score"}])
def test_of_many_rows_all_processes_and_earlier_steps_are_shown_with_the_best_and_the_worst(
    tmp_path: Path, said: dict[str, str]
) -> None:
    """Of 6,144 rows 500; best and worst by the column that the journal says, which is else the reward."""
    column = said.get("ranked_by", "reward")
    run = RunFiles(tmp_path / "run", processes=16)
    run.begin()
    for step in range(3):
        run.commit(step, {"a": 1.0})
        run.say("sample", seq=run.seq, step=step, k=0, table="t", recorded=2048, rows=[], **said)
    for process in range(16):
        rewards = [float("nan"), *range(1, 100), 1000 + process, *range(100, 126), -process]
        rows = [
            {"step": step, column: "nan" if r != r else r} for step in range(3) for r in rewards
        ]  # fmt: skip
        run.samples("t", process, rows)
    (found,) = sample_tables(history_of(run.path), [run.path])
    assert (found["recorded"], found["chosen"], found["ranked_by"]) == (6144, True, column)
    rows = found["rows"]
    assert len(rows) == 500
    assert len({tuple(row) for row in rows}) > 3 * 16
    for step in range(3):
        own = [row for row in rows if row[0] == step]
        assert len(own) >= (250 if step == 2 else 80)
        of_process = [sum(row[2] == process for row in own) for process in range(16)]
        assert max(of_process) - min(of_process) <= 2
        rewards = {row[1] for row in own}
        assert {1015, -15} <= rewards


def test_rows_of_a_long_run_are_the_newest_and_some_of_steps_all_over_it(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    run.say("sample", seq=1, step=0, k=0, table="t", recorded=10_000, rows=[])
    run.samples("t", 0, [{"step": step, "n": step} for step in range(10_000)])
    (found,) = sample_tables(history_of(run.path), [run.path])
    shown = [row[0] for row in found["rows"]]
    assert len(set(shown)) == 500
    assert set(range(9600, 10_000)) <= set(shown)
    assert shown[0] == 0
    earlier = [step for step in shown if step < 9500]
    assert max(np.diff(earlier)) < 10_000 / 40


def test_of_sample_files_that_are_too_long_the_ends_are_read(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run", processes=2)
    run.begin()
    run.commit(0, {"a": 1.0})
    run.say("sample", seq=1, step=0, k=0, table="t", recorded=20_000, rows=[])
    for process in range(2):
        run.samples("t", process, [{"step": step, "text": "x" * 100} for step in range(10_000)])
    (found,) = sample_tables(history_of(run.path), [run.path], room=200_000)
    shown = [row[0] for row in found["rows"]]
    assert len(shown) == 500
    assert 9250 < shown[0] < 9500
    assert {*range(9800, 10_000)} <= {*shown}


def test_other_names_are_known_by_what_the_journal_says_of_them(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    aliases = {"train/loss": ["old/loss"], "train/reward/": ["old-reward/"], "eval/*/mean": ["eval-*"]}
    run.begin(aliases=aliases, derived={"old/sum": "two of them"})
    names = [
        "train/loss",
        "old/loss",
        "train/reward/a/mean",
        "old-reward/a/mean",
        "eval/acc/mean",
        "eval-acc",
        "old/sum",
    ]
    run.commit(0, dict.fromkeys(names, 1.0))
    assert alias_names(history_of(run.path)) & set(names) == {
        "old/loss",
        "old-reward/a/mean",
        "eval-acc",
        "old/sum",
    }
