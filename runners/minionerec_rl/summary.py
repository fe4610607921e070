"""What the run achieved, in numbers that can be checked: `eval.json`, and a few lines for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from runners.common.comparison import Comparison, compare
from runners.recommendation.ranking import hit_rate, ndcg

K = 10  # the cut-off that is compared


@dataclass(frozen=True)
class Result:
    """The same test users ranked for before and after."""

    before: np.ndarray  # (N,) int64: where the true item stands
    after: np.ndarray  # (N,) int64
    invalid: int  # predictions after that are no item
    hit_rate: Comparison  # HR@10
    ndcg: Comparison  # NDCG@10


def judge(before: np.ndarray, after: np.ndarray, invalid: int) -> Result:
    """Compare the ranks of the true items; both (N,), in the order of the test split."""
    hits = compare(hit_rate(before, K), hit_rate(after, K))
    return Result(before, after, invalid, hits, compare(ndcg(before, K), ndcg(after, K)))


def write_eval(path: Path, result: Result, step: int) -> None:
    """`eval.json`: the rank of each test user's item before and after, in the order of the test split."""
    content = {
        "step": step,
        "invalid_predictions": result.invalid,
        f"hr@{K}": asdict(result.hit_rate),
        f"ndcg@{K}": asdict(result.ndcg),
        "ranks": {"before": result.before.tolist(), "after": result.after.tolist()},
    }
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def describe(result: Result) -> str:
    """The result, for the terminal."""
    hits, gain = result.hit_rate, result.ndcg
    return f"""
Next item of {hits.problems} held-out users:
  {"":<12}{f"HR@{K}":>7}{f"NDCG@{K}":>10}
  {"before":<12}{hits.before:7.1%}{gain.before:10.3f}
  {"after GRPO":<12}{hits.after:7.1%}{gain.after:10.3f}
  HR@{K}   {100 * hits.gain:+.1f} points (95% paired bootstrap: {100 * hits.gain_low:+.1f} to \
{100 * hits.gain_high:+.1f})
  NDCG@{K} {gain.gain:+.3f} (95% paired bootstrap: {gain.gain_low:+.3f} to {gain.gain_high:+.3f})
  predictions that are no item: {result.invalid}
"""
