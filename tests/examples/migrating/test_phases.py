"""Each phase of the migration leaves every old key, with its value: on one process, and on several."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.examples.migrating.conftest import EVAL_EVERY, STEPS, Ran, Run

PHASES = ("phase1", "phase2", "phase3", "phase4", "phase6")
ON_EVERY_PROCESS = ("phase3", "phase4", "phase6")  # from here on times are of all processes
WITHOUT_GATHERS = ("phase4", "phase6")
PROCESSES = (1, 2, pytest.param(4, marks=pytest.mark.long))
TIMES = ("rollout", "reward", "update", "step")

each = pytest.mark.parametrize(
    ("phase", "processes"),
    [
        pytest.param(phase, *getattr(n, "values", (n,)), marks=getattr(n, "marks", ()))
        for n in PROCESSES
        for phase in PHASES
    ],
)


def is_measured(key: str) -> bool:
    """Whether a value is of the clock, and so another one in each run."""
    return key.startswith(("time/", "throughput/")) or key in ("train/step_time_sec", "train/samples_per_sec")


def is_of_the_sink(key: str) -> bool:
    """Whether a value says how the W&B sink fares; never that it has failed."""
    return key in ("obs/sink/wandb/lag_steps", "obs/sink/wandb/commit_ms")


def rows_of(ran: Ran, phase: str) -> dict[int, dict[str, Any]]:
    return ran.logged() if phase.endswith("phase0") else ran.committed()


@each
def test_every_old_key_is_there_with_its_value(run: Run, phase: str, processes: int) -> None:
    """Key by key against what phase 0 has logged, step by step; texts too."""
    old, new = run("phase0", processes).logged(), run(phase, processes).committed()
    assert old.keys() == new.keys() == set(range(1, STEPS + 1))
    for step, row in old.items():
        assert row.keys() <= new[step].keys(), step
        for key, value in row.items():
            if is_measured(key):
                continue
            if isinstance(value, str):
                assert new[step][key] == value, (step, key)
            else:  # gathers go through float32
                assert new[step][key] == pytest.approx(value, rel=2e-6, abs=1e-7), (step, key)


def test_phase_1_commits_exactly_what_was_logged(run: Run) -> None:
    """Nothing but the place has changed: the same keys, none more but the sink's, and the same bits."""
    for processes in (1, 2):
        old, new = run("phase0", processes).logged(), run("phase1", processes).committed()
        for step in old:
            assert {key for key in new[step] if not is_of_the_sink(key)} == old[step].keys()
            exact = {key: value for key, value in old[step].items() if not is_measured(key)}
            assert {key: new[step][key] for key in exact} == exact


def test_what_is_compared_is_no_row_of_constants(run: Run) -> None:
    """It is a training that gets better, with completions of different lengths."""
    rows = run("phase0", 2).logged()
    rewards = [row["train-reward/total/mean"] for row in rows.values()]
    assert rewards[-1] > 3 * rewards[0]
    for key in ("other/loss", "other/entropy", "other/total_valid_token_count", "seq_len/completion/mean"):
        assert len({row[f"train-{key}"] for row in rows.values()}) > STEPS / 2, key
    for key in ("total/std", "func/reward_correct/mean", "func/reward_format/mean"):
        assert len({row[f"train-reward/{key}"] for row in rows.values()}) > STEPS / 2, key
    assert sum("eval/accuracy/mean" in row for row in rows.values()) == STEPS // EVAL_EVERY


@pytest.mark.parametrize("phase", ["phase1", "phase4"])
def test_what_wandb_stores_is_what_it_stored_before(run: Run, phase: str) -> None:
    """The real SDK, offline: its rows in phase 0, when the loop called it, and later, from the sink."""
    before = run("phase0", 1, wandb="offline").stored_by_wandb()
    ran = run(phase, 1, wandb="offline")
    after = ran.stored_by_wandb()
    assert before.keys() == after.keys() == set(range(1, STEPS + 1))
    for step, row in before.items():
        for key, value in row.items():
            if not is_measured(key):
                expected = value if isinstance(value, str) else pytest.approx(value, rel=2e-6, abs=1e-7)
                assert after[step][key] == expected, (step, key)
            assert key in after[step]
        assert after[step].pop("step") == step
        assert after[step].pop("sightline/seq") > 0
        assert after[step] == pytest.approx(ran.committed()[step])


# --- times -------------------------------------------------------------------------------------------------


def bounds(ran: Ran, phase: str, process: int) -> dict[int, dict[str, tuple[float, float]]]:
    """Step -> timing -> between which seconds it must be, by what the process has called and when.

    A time is at least that of the calls inside of it, and at most what lies between the calls around it.
    From phase 4 on, devices end the update: it is at least its launch; and the rollout is without the rest of
    the update before it.
    """
    calls = ran.calls(process)
    starts = [i for i, call in enumerate(calls) if call.name == "draw_prompts"]
    found = {}
    for step, i in enumerate(starts, 1):
        draw, rollout, score, longest, shard, update = calls[i : i + 6]
        names = [call.name for call in calls[i : i + 6]]
        assert names == ["draw_prompts", "rollout", "score", "longest", "shard", "update"]
        after = calls[i + 6].begin if len(calls) > i + 6 else math.inf
        waits = phase not in WITHOUT_GATHERS
        found[step] = {
            "rollout": (rollout.end - rollout.begin if waits else 0.0, score.begin - draw.end),
            "reward": (score.end - score.begin, longest.begin - rollout.end),
            "update": (update.end - shard.begin, after - longest.end if waits else math.inf),
            "step": (update.end - draw.begin, after - (calls[i - 1].end if i else 0.0)),
        }
    return found


@each
def test_the_times_of_process_0_are_those_that_a_clock_beside_it_sees(
    run: Run, phase: str, processes: int
) -> None:
    """What the old runner showed were process 0's; they are in the journal in every phase."""
    ran = run(phase, processes)
    measured = ran.process_values()
    for step, timings in bounds(ran, phase, 0).items():
        for name, (least, most) in timings.items():
            key = f"time/train/{name}_s"
            shown = ran.committed()[step][key] if phase not in ON_EVERY_PROCESS else measured[step][key][0]
            assert least <= shown <= most, (step, key)


@pytest.mark.parametrize("phase", ON_EVERY_PROCESS)
def test_from_phase_3_on_a_time_is_the_mean_of_all_processes_and_the_slowest_is_named(
    run: Run, phase: str
) -> None:
    """Each process's own, as its clock sees it; under the old key their mean."""
    ran = run(phase, 2)
    shown, measured = ran.committed(), ran.process_values()
    for process in (0, 1):
        for step, timings in bounds(ran, phase, process).items():
            for name, (least, most) in timings.items():
                assert least <= measured[step][f"time/train/{name}_s"][process] <= most, (step, name)
    for step, row in shown.items():
        for name in TIMES:
            key = f"time/train/{name}_s"
            own = measured[step][key]
            assert row[key] == pytest.approx(np.mean(own))
            assert row[f"{key}_max"] == max(own)
            assert own[row[f"{key}_slowest"]] == max(own)


@each
def test_rates_and_windows_follow_from_the_times_beside_them(run: Run, phase: str, processes: int) -> None:
    """As in phase 0: tokens by the step's time, and the mean of the last ten, once there are ten."""
    window_key = "time/train/step_avg_last10_s"
    old = run("phase0", processes).logged()
    assert {step for step, row in old.items() if window_key in row} == set(range(10, STEPS + 1))
    for module in ("phase0", phase):
        rows = rows_of(run(module, processes), module)
        steps = [rows[step]["time/train/step_s"] for step in sorted(rows)]
        for step, row in rows.items():
            tokens = row["throughput/train/valid_tokens_per_s"] * row["time/train/step_s"]
            assert tokens == pytest.approx(row["train-other/total_valid_token_count"], rel=1e-6)
            if step >= 10:
                assert row[window_key] == pytest.approx(np.mean(steps[step - 10 : step]), rel=1e-6), step
            else:
                assert window_key not in row, step


# --- gathers, lines, logs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["phase0", *PHASES])
def test_eight_gathers_a_step_become_none_and_the_padded_length_stays(run: Run, phase: str) -> None:
    """The batch needs that one; no metric needs any."""
    names = [call.name for call in run(phase, 2).calls()]
    assert names.count("longest") == STEPS
    expected = 0 if phase in WITHOUT_GATHERS else 8 * STEPS + STEPS // EVAL_EVERY
    assert names.count("gather") == expected


@pytest.mark.parametrize("phase", PHASES)
def test_the_lines_that_people_grep_are_the_same(run: Run, phase: str) -> None:
    """Printed by the runner, and later by the console; on process 0 alone."""
    old, new = run("phase0", 2), run(phase, 2)
    assert len(old.lines()) == len(new.lines()) == STEPS
    for before, after in zip(old.lines(), new.lines(), strict=True):
        assert after == pytest.approx(before, abs=1.01e-4)  # the last digit may be rounded otherwise
    assert not re.search("^step=", new.job[1].output, re.MULTILINE)


@pytest.mark.parametrize("phase", PHASES)
def test_evaluations_have_a_line_of_their_own_once_the_console_writes(run: Run, phase: str) -> None:
    """Which `grep "^step="` finds too, as docs/migrating.md says."""
    others = re.findall(r"^step=(?!.* loss=).*$", run(phase, 2).job.root.output, re.MULTILINE)
    expected = STEPS // EVAL_EVERY if phase in WITHOUT_GATHERS or phase == "phase3" else 0
    assert len(others) == expected
    assert all(re.match(r"step=\d+ k=1 eval/accuracy/mean=", line) for line in others)


@pytest.mark.parametrize("phase", PHASES)
def test_every_commit_is_whole(run: Run, phase: str) -> None:
    """Every process takes part once they commit, and nothing went wrong."""
    commits = run(phase, 2).journal("commit")
    assert len(commits) == STEPS + STEPS // EVAL_EVERY
    for commit in commits:
        assert commit["reported"] == commit["expected"] == (2 if phase in ON_EVERY_PROCESS else 1)
        assert not any(key.startswith("obs/") and not is_of_the_sink(key) for key in commit["values"])


@pytest.mark.parametrize("module", [*ON_EVERY_PROCESS, "sft_phase5"])
def test_what_is_recorded_has_names_that_sightline_has_nothing_to_say_against(run: Run, module: str) -> None:
    """No warning about a name, nor about anything else."""
    for worker in run(module, 2).job:
        assert "sightline:" not in worker.output


def test_phase_4_shows_the_same_on_one_process_and_on_two(run: Run) -> None:
    """But for the share of one process."""
    one, two = (run("phase4", n).committed() for n in (1, 2))
    for step, row in one.items():
        for key in row.keys() - {"train/batch/local", "train-other/batch_local"}:
            if not is_measured(key) and not is_of_the_sink(key):
                expected = (
                    row[key] if isinstance(row[key], str) else pytest.approx(row[key], rel=1e-4, abs=1e-6)
                )
                assert two[step][key] == expected, (step, key)


# --- what phase 6 leaves beside the numbers ----------------------------------------------------------------


def folders_of(ran: Ran) -> list[Path]:
    """The run's directory on the disk of each process."""
    return [worker.disk / "runs" / "adding" for worker in ran.job]


def sightline(*arguments: str | Path) -> str:
    """What a command says, once it has ended well."""
    command = [sys.executable, "-m", "sightline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_phase_6_writes_the_lines_of_each_process_into_its_files_and_shows_the_root_s(run: Run) -> None:
    """One reader has them all; the console has one, and nobody prints by himself."""
    ran = run("phase6", 2)
    line = "INFO adding: 8 of 16 prompts a step"
    for process, folder in enumerate(folders_of(ran)):
        (log,) = (folder / "logs").glob("*.log")
        assert log.name == f"p{process:05d}.a01.log"
        assert log.read_text().count(f"p{process:05d} {line}") == 1
    assert [worker.output.count("prompts a step") for worker in ran.job] == [1, 0]
    assert re.search(rf"^\d\d:\d\d:\d\d {line}$", ran.job.root.output, re.MULTILINE)
    assert f"{line}  ×2 processes\n" in sightline("logs", *folders_of(ran))


def test_phase_6_shows_the_collective_that_is_left_as_waiting_and_makes_no_metric_of_it(run: Run) -> None:
    """A span of each step on each process; timings are spans without a word."""
    ran = run("phase6", 2)
    summary = json.loads(sightline("trace", "summary", "--json", *folders_of(ran)))
    stages = {stage["name"]: stage for stage in summary["stages"]}
    assert stages["wait_lengths"]["kind"] == "waiting"
    assert stages["wait_lengths"]["spans"] == stages["train/step"]["spans"] == 2 * STEPS
    assert not any("wait_lengths" in key for row in ran.committed().values() for key in row)


def test_phase_6_keeps_every_prompt_with_its_completion_and_reward(run: Run) -> None:
    """As text, of each process; the reward is that of the text."""
    for process, folder in enumerate(folders_of(run("phase6", 2))):
        (file,) = (folder / "samples" / "train").iterdir()
        assert file.name == f"rollouts.p{process:05d}.a01.jsonl"
        rows = [json.loads(line)["row"] for line in file.read_text().splitlines()[1:]]
        assert len(rows) == STEPS * 64
        for row in rows:
            answer = str(sum(map(int, row["prompt"].split("+"))) % 10)
            right = row["completion"].startswith(answer)
            well_formed = len(row["completion"]) == 2 and row["completion"][-1] == "."
            assert row["reward"] == right + 0.5 * well_formed, row


def test_phase_6_profiles_the_step_that_is_asked_for_on_every_process(run: Run) -> None:
    """And the merged timeline has what XLA did."""
    ran = run("phase6", 2)
    for process, folder in enumerate(folders_of(ran)):
        assert [each.name for each in (folder / "profiles").iterdir()] == [f"p{process:05d}.a01.s000003"]
        (profile,) = (folder / "profiles").rglob("*.xplane.pb")
        assert profile.stat().st_size > 1000
    output = ran.job.root.disk / "timeline.json.gz"
    merged = sightline("trace", "merge", "--xla", "-o", output, *folders_of(ran))
    assert re.search(r"2 processes: .*[1-9]\d* device events", merged)


@pytest.mark.parametrize("command", [("logs",), ("trace", "summary"), ("watch", "--once"), ("report", "-o")])
def test_the_commands_that_the_page_ends_with_have_something_to_say(
    run: Run, command: tuple[str, ...], tmp_path: Path
) -> None:
    """Of a run whose files are all in one place."""
    page = tmp_path / "report.html"
    ran = run("phase6", 1)
    said = sightline(*command, *([page] if command[-1] == "-o" else []), ran.folder)
    if command[0] == "report":
        assert page.stat().st_size > 100_000
    else:
        expected = {"logs": "16 of 16 prompts a step", "trace": "train/update", "watch": "train/rollouts"}
        assert expected[command[0]] in said


# --- the other runner --------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", PROCESSES)
def test_the_other_runner_leaves_its_old_keys_too(run: Run, processes: int) -> None:
    """Under the names of all runners, and the old ones as aliases; the evaluation is the root's alone."""
    old, new = run("sft_phase0", processes).logged(), run("sft_phase5", processes).committed()
    assert old.keys() == new.keys()
    for step, row in old.items():
        for key, value in row.items():
            if not is_measured(key):
                assert new[step][key] == pytest.approx(value, rel=2e-6, abs=1e-7), (step, key)
        assert new[step]["train/step_time_sec"] == new[step]["time/train/step_s"] > 0
        samples = new[step]["train/samples_per_sec"] * new[step]["train/step_time_sec"]
        assert samples == pytest.approx(row["train/effective_batch_size"])
        assert ("eval/hr@10" in row) == (step % EVAL_EVERY == 0)
    evaluations = [c for c in run("sft_phase5", processes).journal("commit") if "eval/hr@10" in c["values"]]
    assert {commit["reported"] for commit in evaluations} == {1}


def test_the_other_runner_s_steps_and_evaluations_are_on_the_timeline(run: Run) -> None:
    """By `run.steps` around the trainer's loop; evaluations on the root alone."""
    summary = json.loads(sightline("trace", "summary", "--json", *folders_of(run("sft_phase5", 2))))
    stages = {stage["name"]: stage for stage in summary["stages"]}
    assert stages["train/step"]["spans"] == 2 * STEPS
    assert (stages["evaluate"]["kind"], stages["evaluate"]["spans"]) == ("evaluation", STEPS // EVAL_EVERY)


@pytest.mark.parametrize("module", ["phase4", "phase6", "sft_phase5", "wandb_journal"])
def test_lint_finds_nothing_by_hand_in_what_has_moved(module: str) -> None:
    """Which it does in what has not."""
    folder = Path(__file__).parents[3] / "examples" / "migrating"
    assert "nothing found" in sightline("lint", folder / f"{module}.py")


def test_both_runners_use_the_same_names(run: Run) -> None:
    """What both measure has one name, whichever measured it."""
    shared = {"train/loss", "train/batch/global", "time/train/step_s"}
    for module in ("phase4", "sft_phase5"):
        assert shared <= run(module, 1).committed()[1].keys()
