"""What the run achieved, in numbers that can be checked: `eval.json`, and a few lines for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
