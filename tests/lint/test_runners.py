"""Our own runners, spoilt. That they are clean (tests/cli/test_lint.py) says something by this alone."""

import shutil
from pathlib import Path

import pytest

from sightline.lint import check_paths

RUNNERS = Path(__file__).parent.parent.parent / "runners"
#: File, what stands there, what is planted in its place (in its indentation), and what each line of that is.
PLANTED: list[tuple[str, str, list[tuple[str, str | None]]]] = [
    (
        "sid_sft/train.py",
        "following = self._share(at.position)",
        [
            ("following = self._share(at.position)", None),
            ('log.info("loss %.3f", float(update.loss) / 7)', "SL103"),
            ("history.append(update.grad_norm.item())", "SL103"),
            ("jax.block_until_ready(update)", "SL103"),
        ],
    ),
    (
        "sid_sft/train.py",
        "total = self.gradients(state.params, batches[0])",
        [
            ("total = self.gradients(state.params, batches[0])", None),
            ('print(f"loss {total[1].loss.tolist()}")', "SL103"),
        ],
    ),
    (
        "sid_sft/metrics.py",
        "sl.scalar(grad_norm=update.grad_norm)",
        [("sl.scalar(grad_norm=float(update.grad_norm))", "SL103")],
    ),
    ("sid_sft/metrics.py", "sl.last(lr=update.lr)", [("sl.last(lr=step.update.lr.item())", "SL103")]),
    ("sid_sft/metrics.py", 'sl.total("tokens", step.tokens)', [('sl.total("max_tokens_seen", 1)', "SL105")]),
    (
        "minionerec_rl/train.py",
        "at.state = self._update(at, rollout)",
        [
            ("t0 = time.perf_counter()", None),
            ("at.state = self._update(at, rollout)", None),
            ('self.times["update"] = time.perf_counter() - t0', "SL104"),
            ('self.times["step"] = self.times.get("step", 0) + time.perf_counter() - t0', "SL104"),
            ("jax.block_until_ready(at.state)", "SL103"),
            ('self.log["reward"] = multihost_utils.process_allgather(rollout.rewards).mean()', "SL102"),
            ('wandb.log({"train/reward/mean": rollout.rewards.mean()}, step=step)', "SL101"),
        ],
    ),
    (
        "minionerec_rl/train.py",
        "state, stats = self.apply(state, total, tokens)",
        [
            ("state, stats = self.apply(state, total, tokens)", None),
            ('self.log["loss"] = float(stats["loss"])', "SL103"),
            ('self.log["kl"] = np.asarray(stats["kl"]).mean()', "SL103"),
        ],
    ),
    (
        "minionerec_rl/metrics.py",
        'sl.ratio("candidate_diversity", distinct, rollout.items.size)',
        [
            ('sl.scalar("mean_reward", rollout.rewards.mean())', "SL105"),
            ('sl.scalar("rewardMean", rollout.rewards.mean())', "SL105"),
            ('sl.scalar("reward_mean", 1.0)', "SL105"),
            ('sl.scalar("rollout_duration", 1.0)', "SL105"),
        ],
    ),
    (
        "grpo_gsm8k/train.py",
        "state, stats = self.apply(state, total, tokens)",
        [
            ("state, stats = self.apply(state, total, tokens)", None),
            ('log.info("%s", {k: float(v) for k, v in stats.items()})', "SL103"),
        ],
    ),
    (
        "grpo_gsm8k/train.py",
        "record_warmup(**metrics, step=n, lr=muon(n - 1))",
        [('record_warmup(loss=float(metrics["loss"]), step=n, lr=muon(n - 1))', "SL103")],
    ),
    (
        "grpo_gsm8k/metrics.py",
        "sl.scalar(loss=loss, grad_norm=grad_norm)",
        [("sl.scalar(loss=float(loss), grad_norm=grad_norm)", "SL103")],
    ),
    (
        "grpo_gsm8k/metrics.py",
        'sl.summary("accuracy", correct, emit=("mean",))',
        [
            (
                "hits, n = multihost_utils.process_allgather(np.array([correct.sum(), len(correct)])).sum(0)",
                "SL102",
            ),
            ('print(f"accuracy {hits / n:.3f}")', None),
        ],
    ),
]
IMPORTS = "import time\n\nimport wandb\nfrom jax.experimental import multihost_utils\n"


@pytest.fixture
def runners(tmp_path: Path) -> Path:
    """A copy of the runners, which may be spoilt."""
    return Path(shutil.copytree(RUNNERS, tmp_path / "runners", ignore=shutil.ignore_patterns("__pycache__")))


def plant(runners: Path) -> set[tuple[str, int, str]]:
    """Put all of them in; which finding is to be on which line of which file."""
    expected = set()
    for name in {name for name, *_ in PLANTED}:
        path = runners / name
        lines = path.read_text(encoding="utf-8").split("\n")
        out: list[str] = []
        here = [each for each in PLANTED if each[0] == name]
        for line in lines:
            found = [each for each in here if line.strip() == each[1]]
            if line.startswith("from __future__"):
                out += [line, *IMPORTS.split("\n")]
            elif found:
                (_, _, planted), *others = found
                assert not others
                here.remove(found[0])
                indent = line[: len(line) - len(line.lstrip())]
                for text, code in planted:
                    out.append(indent + text)
                    if code is not None:
                        expected.add((name, len(out), code))
            else:
                out.append(line)
        assert not here, f"{here[0][1]!r} is no longer a line of {name}: plant it elsewhere"
        path.write_text("\n".join(out), encoding="utf-8")
    return expected


def test_every_violation_that_is_planted_in_our_runners_is_found_and_nothing_else(runners: Path) -> None:
    """In the loops, in the phases that they call, in the callbacks that other files call."""
    expected = plant(runners)
    assert len(expected) >= 20
    report = check_paths([str(runners)])
    found = {
        (Path(each.path).relative_to(runners).as_posix(), each.line, each.code) for each in report.findings
    }
    assert found == expected
