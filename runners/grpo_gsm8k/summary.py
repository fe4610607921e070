"""What the run achieved, in numbers that can be checked: `eval.json`, and a few lines for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from runners.common.comparison import Comparison


def write_eval(path: Path, before: np.ndarray, after: np.ndarray, comparison: Comparison, step: int) -> None:
    """`eval.json`: one 0 or 1 for each problem and sweep, in the order of the test set."""
    content = {
        "step": step,
        "comparison": asdict(comparison),
        "after_warmup": before.tolist(),
        "after_grpo": after.tolist(),
    }
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def describe(comparison: Comparison) -> str:
    """The result, for the terminal."""
    c = comparison
    interval = f"{100 * c.gain_low:+.1f} to {100 * c.gain_high:+.1f}"
    return f"""
Held-out accuracy, {c.problems} problems, greedy:
  after warm-up  {c.before:6.1%}
  after GRPO     {c.after:6.1%}
  gain           {100 * c.gain:+.1f} points (95% paired bootstrap: {interval})
"""
