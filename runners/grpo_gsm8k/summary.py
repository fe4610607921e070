"""What the run achieved, in numbers that can be checked: `eval.json`, and a few lines for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """The same problems before and after; the interval is a paired bootstrap over problems."""

    problems: int
    before: float
    after: float
    gain: float
    gain_low: float  # 2.5 % quantile
    gain_high: float  # 97.5 % quantile


def compare(before: np.ndarray, after: np.ndarray, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Accuracy before and after, on the same problems; both (N,) of 0 and 1."""
    difference = after.astype(np.float64) - before.astype(np.float64)
    n = len(difference)
    # A resample is how often each of -1, 0 and 1 is drawn: the bootstrap without N × 10,000 draws.
    shares = np.array([(difference == v).mean() for v in (-1, 0, 1)])
    draws = np.random.default_rng(seed).multinomial(n, shares, resamples)
    low, high = np.quantile((draws[:, 2] - draws[:, 0]) / n, [0.025, 0.975])
    return Comparison(n, float(before.mean()), float(after.mean()), float(difference.mean()), low, high)


def write_eval(path: Path, before: np.ndarray, after: np.ndarray, comparison: Comparison, step: int) -> None:
    """`eval.json`: one 0 or 1 for each problem and sweep, in the order of the test set."""
    content = {
        "step": step,
        "comparison": asdict(comparison),
        "after_warmup": before.tolist(),
        "after_grpo": after.tolist(),
    }
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def describe(comparison: Comparison, run_dir: Path, files: Sequence[Path], resume: str) -> str:
    """The last lines on the terminal: the result, the files, what to do next."""
    c = comparison
    journal = run_dir / "metrics.jsonl"
    interval = f"{100 * c.gain_low:+.1f} to {100 * c.gain_high:+.1f}"
    listed = "\n".join(f"  {path}" for path in files if path.exists())
    return f"""
Held-out accuracy, {c.problems} problems, greedy:
  after warm-up  {c.before:6.1%}
  after GRPO     {c.after:6.1%}
  gain           {100 * c.gain:+.1f} points (95% paired bootstrap: {interval})

Written:
{listed}

Next:
  grep '"train/loss"' {journal} | tail -n 1    # the last step, every metric
  {resume}
"""
