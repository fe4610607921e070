"""Runners in MLLM-JAX's style, unedited but for the adopted files: the keys of before, every step once."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from tests.compat.conftest import sightline

TIMES = {"time/train/update_s", "time/train/step_s", "time/train/step_avg_last10_s"}
STEPS = 12


def launched(checkout: Path, module: str, *arguments: str) -> str:
    return sightline("launch", "-n", "2", "--", sys.executable, "-m", module, *arguments, cwd=checkout)


def commits(run: Path) -> list[dict[str, Any]]:
    return [record for record in sl.read_journal(run) if record["type"] == "commit"]


def by_step(run: Path) -> dict[int, dict[str, Any]]:
    """What dashboards make of a journal: all values of a step together."""
    rows: dict[int, dict[str, Any]] = {}
    for commit in commits(run):
        rows.setdefault(commit["step"], {}).update(commit["values"] | commit.get("texts", {}))
    return rows


@pytest.fixture(scope="session")
def history(before: Path) -> dict[int, dict[str, Any]]:
    """The rows that W&B had before: of two processes, of which the first logs."""
    launched(before, "plugins.training.toy_grpo", "index")
    return {int(step): row for step, row in json.loads((before / "history.json").read_text()).items()}


@pytest.fixture(scope="session", params=["index", "root", "all"])
def grpo(checkout: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A run, and what it printed: W&B is asked for by every process, or by the root alone."""
    folder = checkout / "runs" / "toy-grpo"
    earlier = set(folder.glob("first try*"))
    printed = launched(checkout, "plugins.training.toy_grpo", request.param)
    (run,) = set(folder.glob("first try*")) - earlier
    return run, printed


def test_what_was_logged_to_wandb_is_in_the_journal(
    grpo: tuple[Path, str], history: dict[int, dict[str, Any]]
) -> None:
    """Key by key and step by step, whoever asks for W&B."""
    run, printed = grpo
    rows = by_step(run)
    assert sorted(rows) == sorted(history) == list(range(STEPS))
    for step, row in history.items():
        assert set(rows[step]) == set(row), step
        for key, value in row.items():
            if key not in TIMES:
                expected = value if isinstance(value, str) else pytest.approx(value, rel=1e-6)
                assert rows[step][key] == expected, (step, key)
    assert all(rows[step][key] > 0 for step in rows for key in TIMES & set(rows[step]))

    lines = Counter(commit["step"] for commit in commits(run))
    calls = {step: 1 + (step % 4 == 3) for step in range(STEPS)}
    calls[STEPS - 1] += 3  # the full evaluation, in two lines since one key is another's folder; and the text
    assert lines == calls
    trains = [commit["step"] for commit in commits(run) if "train-other/loss" in commit["values"]]
    assert trains == list(range(STEPS))
    assert "Traceback" not in printed
    assert not re.search("(WARNING|ERROR) sightline:", printed), printed


def test_the_run_keeps_what_it_was_made_with_and_ends_by_itself(grpo: tuple[Path, str]) -> None:
    """The configuration, as W&B did; and nobody calls finish."""
    run, _ = grpo
    facts = json.loads((run / "run.json").read_text())
    assert facts["config"]["wandb_project"] == "toy-grpo"
    assert facts["config"]["steps"] == STEPS
    *_, last = sl.read_journal(run)
    assert (last["type"], last["event"], last["missing"]) == ("event", "finish", [])


def losses(process: int, step: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng([process, step]).normal(size=5 + process)


def test_the_code_bases_own_tracker_and_logger_give_the_numbers_of_all_processes(checkout: Path) -> None:
    """Under its names; a key that one process alone has makes nobody wait, as it did before."""
    printed = launched(checkout, "plugins.training.toy_sft")
    (run,) = (path for path in (checkout / "runs" / "toy-sft").iterdir() if not path.is_symlink())
    *trains, evaluation = commits(run)
    assert [commit["step"] for commit in trains] == [1, 2, 3, 4]
    for commit in trains:
        step, values, counts = commit["step"], commit["values"], commit["counts"]
        parts = [losses(process, step) for process in (0, 1)]
        expected = {
            "train/loss": np.mean([part.mean() for part in parts]),
            "train/tokens": 5.5,
            **{
                f"train/token_loss/{name}": getattr(np.concatenate(parts), name)()
                for name in ("mean", "std", "min", "max")
            },
            **({"only_here": 1.0} if step == 2 else {}),
        }
        timings = {"timeperf/step", "timeperf/data", "timeperf/data_max", "timeperf/data_slowest"}
        assert set(values) == set(expected) | timings
        assert {key: values[key] for key in expected} == pytest.approx(expected, rel=1e-9)
        assert counts["train/token_loss__count"] == 11
        assert counts["train/loss__count"] == counts["timeperf/step__count"] == 2
    assert (evaluation["step"], evaluation["values"]) == (
        4, {"eval/hr@10": 0.5, "eval/invalid_prediction_count": 0},
    )  # fmt: skip
    for process in (0, 1):
        text = (checkout / "logs" / f"p0000{process}.log").read_text().splitlines()
        assert len(text) == 4
        assert all(f"[p{process}] INFO plugins.__main__: step" in line for line in text)
    assert "Traceback" not in printed
