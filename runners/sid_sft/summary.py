"""What the run achieved, in numbers that can be checked: `eval.json`, and a few lines for the terminal."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from runners import minionerec_rl
from runners.common.comparison import Comparison, compare
from runners.common.config import load
from runners.common.loop import command, set_options
from runners.minionerec_rl.config import Config as NextConfig
from runners.recommendation.catalogue import Dataset
from runners.recommendation.evaluation import Evaluation
from runners.recommendation.ranking import chance, followers, hit_rate, ndcg, popular, ranks
from runners.sid_sft.config import Config

K = 10  # of the claim at the end


@dataclass(frozen=True)
class Result:
    """The test users, ranked for by the model and by rules without one."""

    ranks: dict[str, np.ndarray]  # "model", "popular", "followers": (N,) int64, where the true item stands
    items: int  # in the catalogue
    invalid: int  # predictions that are no item
    hit_rate: Comparison  # HR@10: popular items before, the model after


def judge(dataset: Dataset, evaluation: Evaluation) -> Result:
    """Set the evaluation of the test users beside the baselines."""
    items, count = len(dataset.catalogue), evaluation.items.shape[1]
    found = {"model": evaluation.ranks}
    for name, baseline in (("popular", popular), ("followers", followers)):
        found[name] = ranks(baseline(dataset.train, items, dataset.test, count), dataset.test.targets)
    hits = {name: hit_rate(rank, K) for name, rank in found.items()}
    return Result(found, items, evaluation.invalid, compare(hits["popular"], hits["model"]))


def write_eval(path: Path, result: Result, step: int) -> None:
    """`eval.json`: each test user's rank by model and baselines, in the order of the test split."""
    content = {
        "step": step,
        "items": result.items,
        "invalid_predictions": result.invalid,
        f"hr@{K}_over_popular": asdict(result.hit_rate),
        "ranks": {name: rank.tolist() for name, rank in result.ranks.items()},
    }
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def next_command(config: Config, run_dir: Path) -> str:
    """Reinforcement learning from this run's policy, on the same data."""
    file = Path(minionerec_rl.__path__[0]) / "configs" / "demo.yaml"
    there = load(NextConfig, file)
    settings = [f"start.run={run_dir}"]
    if config.seed != there.seed:
        settings.append(f"seed={config.seed}")
    data = asdict(there.data)
    for key, value in asdict(config.data).items():
        if value != data[key] and key != "answer_tokens":  # it says items, which have their own length
            settings.append(f"data.{key}={json.dumps(value)}")
    module = "-m", "runners.minionerec_rl"
    words = command(*module, "--config", str(file), *set_options(settings))
    return shlex.join(words) + "    # reinforcement learning from this checkpoint"


def describe(result: Result) -> str:
    """The result, for the terminal."""
    labels = {"model": "this model", "followers": "what followed the last item", "popular": "popular items"}
    lines = []
    for name, label in labels.items():
        rank = result.ranks[name]
        lines.append(f"  {label:<28}{hit_rate(rank, K).mean():7.1%}{ndcg(rank, K).mean():10.3f}")
    hits, gain = chance(result.items, K)
    lines.append(f"  {'chance':<28}{hits:7.1%}{gain:10.3f}")
    table = "\n".join(lines)
    c = result.hit_rate
    interval = f"{100 * c.gain_low:+.1f} to {100 * c.gain_high:+.1f}"
    return f"""
Next item of {c.problems} held-out users, among {result.items}:
  {"":<28}{f"HR@{K}":>7}{f"NDCG@{K}":>10}
{table}
  over popular items: {100 * c.gain:+.1f} points of HR@{K} (95% paired bootstrap: {interval})
  predictions that are no item: {result.invalid}
"""
