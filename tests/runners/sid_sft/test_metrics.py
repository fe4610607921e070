"""What reaches the journal equals what the old way computes, under the old names too."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.minionerec_rl.__main__ import main
from tests.runners.jobs import Finished
from tests.runners.sid_sft.conftest import smoke_config

NAMES = ("train", "eval", "eval_full")


# Four compile twice as much as two, and say the same: the journal itself is tested on up to eight.
FOUR = pytest.param("four_processes", marks=pytest.mark.long)


@pytest.fixture(params=["one_process", "two_processes", FOUR])
def run(request: pytest.FixtureRequest) -> Finished:
    finished: Finished = request.getfixturevalue(request.param)
    return finished


def steps_of(run: Finished) -> list[dict[str, Any]]:
    return [line for line in run.journal() if "train/loss" in line["values"]]


def test_every_metric_equals_its_old_computation_key_by_key(run: Finished) -> None:
    seen = set()
    for line in run.journal():
        for name in NAMES:
            if not any(key.startswith(f"{name}/") for key in line["values"]):
                continue
            seen.add(where := f"{line['step']} {name}")
            for key, (expected, tolerance) in run.old_style[where].items():
                assert line["values"][key] == pytest.approx(expected, rel=0, abs=tolerance), (where, key)
    assert (
        seen
        == set(run.old_style)
        == {f"{n} train" for n in range(1, 5)} | {"2 eval", "4 eval", "4 eval_full"}
    )


def test_nothing_is_recorded_but_what_has_an_old_computation_or_is_a_time(run: Finished) -> None:
    derived = {"throughput/train/tokens_per_s", "throughput/train/samples_per_s", "train/samples_per_sec"}
    derived |= {"train/step_time_sec", "eval/best_ndcg@10", "eval/best_step", "eval_full/split", "eval/split"}
    for line in run.journal():
        for key in line["values"]:
            name = next((name for name in NAMES if key.startswith(f"{name}/")), None)
            old = run.old_style.get(f"{line['step']} {name}", {})
            assert key in old or key in derived or key.startswith("time/"), key


def test_step_time_and_rate_have_their_old_names_and_belong_together(run: Finished) -> None:
    for line in steps_of(run):
        values = line["values"]
        assert values["train/step_time_sec"] == values["time/train/step_s"] > 0
        rate = values["train/effective_batch_size"] / values["time/train/step_s"]
        assert values["train/samples_per_sec"] == pytest.approx(rate)
        assert values["throughput/train/samples_per_s"] == values["train/samples_per_sec"]
        rate = values["train/tokens"] / values["time/train/step_s"]
        assert values["throughput/train/tokens_per_s"] == pytest.approx(rate)
        assert all(values[f"time/train/{name}_s"] > 0 for name in ("data", "update"))


def test_tokens_are_counted_once_over_processes_and_micro_batches(run: Finished) -> None:
    for line in steps_of(run):
        assert line["values"]["train/effective_batch_size"] == 16
        assert line["counts"]["train/grad_norm__count"] == 1


def test_nothing_that_was_recorded_is_missing_late_or_in_conflict(run: Finished) -> None:
    for line in run.journal():
        trouble = [key for key in line["values"] if key.startswith("obs/")]
        assert trouble == [], line["step"]
    assert run.journal("late") == []


def test_no_prediction_is_invalid(run: Finished) -> None:
    found = [
        line["values"]["eval_full/invalid_predictions"]
        for line in run.journal()
        if "eval_full/hr@10" in line["values"]
    ]
    assert found == [0]


@pytest.mark.parametrize("job", ["two_processes", FOUR])
def test_the_root_alone_evaluates_and_the_others_wait_outside_of_their_steps(
    job: str, request: pytest.FixtureRequest
) -> None:
    run: Finished = request.getfixturevalue(job)
    everyone = list(range(len(run.outputs)))
    by_process = {line["seq"]: line for line in run.journal("process_values")}
    for line in run.journal():
        assert line["expected"] == line["reported"] == len(everyone)
        times = by_process[line["seq"]]
        recorded = {
            key: [p for p, value in zip(times["processes"], row, strict=True) if value is not None]
            for key, row in times["values"].items()
        }
        if "train/loss" in line["values"]:
            assert recorded == {f"time/train/{name}_s": everyone for name in ("data", "update", "step")}
        else:
            scope = "eval" if "eval/epoch" in line["values"] else "eval_full"
            assert recorded == {f"time/{scope}/step_s": [0], f"time/{scope}/wait_s": everyone[1:]}
    for output in run.outputs[1:]:
        computed = json.loads((output / "old_style.json").read_text())
        assert sorted(computed) == [f"{n} train" for n in range(1, 5)]


@pytest.mark.parametrize("job", ["two_processes", FOUR])
def test_the_number_of_processes_changes_neither_what_is_learned_nor_what_is_found(
    one_process: Finished, job: str, request: pytest.FixtureRequest
) -> None:
    other: Finished = request.getfixturevalue(job)
    for a, b in zip(one_process.journal(), other.journal(), strict=True):
        assert a["step"] == b["step"]
        for key, value in a["values"].items():
            if key.startswith(("train/", "eval/", "eval_full/")) and "sec" not in key:
                assert b["values"][key] == pytest.approx(value, rel=1e-4, abs=1e-6), (a["step"], key)


def test_the_root_alone_prints_the_summary_and_names_files_that_exist(two_processes: Finished) -> None:
    root, other = two_processes.printed
    assert "Next item of 12 held-out users, among 80" in root
    assert "held-out" not in other
    files = re.search(r"Written:\n((?:  .+\n)+)", root)
    assert files is not None
    names = {line.strip().rsplit("/", 1)[1] for line in files[1].splitlines()}
    assert names == {"metrics.jsonl", "run.json", "eval.json", "logs", "traces", "checkpoints"}


def test_the_commands_at_the_end_go_on_with_this_run_and_begin_the_next_from_it(
    two_processes: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the same data."""
    commands = [
        shlex.split(line, comments=True)
        for line in two_processes.printed[0].splitlines()
        if " launch -n 2 -- " in line
    ]
    follow, resume = commands
    assert main([*follow[follow.index("--config") :], "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    ours = asdict(smoke_config(Path()).data)
    assert {key: value for key, value in printed["data"].items() if value != ours[key]} == {
        "answer_tokens": 8
    }
    assert printed["start"]["run"] == str(two_processes.dir)
    for key in ("output.name=run", "output.resume=must", "sft.steps=8"):
        assert resume.count(key) == 1


def test_what_was_recommended_is_kept_for_people(two_processes: Finished) -> None:
    """After each evaluation, with what the user chose next and where that stood."""
    lines = two_processes.journal("sample")
    assert {line["table"] for line in lines} == {"eval/rankings", "eval_full/rankings"}
    for line in lines:
        for row in line["rows"]:
            hit = row["answer"] in row["completion"].split("\n")
            assert hit == (row["rank"] <= 5)
            assert row["reward"] >= (1 / 3 if hit else 0)
