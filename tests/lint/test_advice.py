"""What the lint says to write instead is nothing that it would find itself."""

import re

import pytest

from sightline.lint import words
from tests.lint.marked import found, instead

KEYS = [
    "train/loss", "train-reward/total/mean", "train-reward/total", "train/mean_reward", "train/max_reward",
    "train/avg_reward", "Train Loss", "train/reward_p95", "train/num_tokens", "tokens_per_sec",
    "train/tokens_per_s", "train/tokens_per_s_per_device", "train/step_time", "train/elapsed",
    "train/rollout_duration", "train/clipped_pct", "train/reward_count", "eval_full/acc", "charts/SPS",
    "train/lossMean", "time/train/update", "train/GPU 0", "train/loss/mean/mean", "critic/score/mean",
]  # fmt: skip


def assert_clean(advice: str) -> None:
    """A line of advice, with names in place of what it leaves open, has no findings."""
    call = advice.split("  #")[0].replace('"…"', '"x"')
    call = call.replace(": …", ": ...").replace("…", "y")
    assert "(y)" not in call, advice
    assert not found(f"import sightline as sl\n{call}\n"), advice


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_suggested_keeps_the_conventions(key: str) -> None:
    """For a tracker's call, for a key of our own, and for what gathers, reads or times."""
    (of_sink,) = instead(f"import wandb\nwandb.log({{{key!r}: x}}, step=n)")
    assert_clean(of_sink.split("\n")[0])
    for line in instead(f"import sightline as sl\nsl.scalar({key!r}, x)"):
        assert_clean(line)
    gathers = f"""
        from jax.experimental.multihost_utils import process_allgather
        everyone = process_allgather(rewards)
        metrics[{key!r}] = float(everyone.mean())
        """
    (of_gather,) = instead(gathers)
    assert_clean(of_gather)
    reads = f"""
        from lib import train_step
        for batch in batches:
            state, out = train_step(state, batch)
            metrics[{key!r}] = float(out)
        """
    if not words.is_time(key) and "_per_" not in key:  # which no step gives
        (of_read,) = instead(reads)
        assert_clean(of_read)
    (of_timing,) = instead(f"import time\nt0 = time.time()\nmetrics[{key!r}] = time.time() - t0")
    for line in of_timing.split("\n"):
        assert_clean(line)


def test_the_namespace_is_found_in_a_key_that_is_spelled_with_a_dash() -> None:
    """The same one for every rule."""
    assert instead('import wandb\nwandb.log({"train-reward/total/mean": x}, step=n)') == [
        'sl.scalar("train/reward/total/mean", x)\nrun.commit(n)'
    ]
    gather = "everyone = process_allgather(rewards)\n"
    code = "from jax.experimental.multihost_utils import process_allgather\n" + gather
    (advice,) = instead(code + 'log["train-reward/total/mean"] = everyone.mean()')
    assert advice.startswith('sl.summary("train/reward/total", rewards)')
    assert instead('import sightline as sl\nsl.summary("train-reward/total", x)') == [
        'sl.summary("train/reward/total", …)'
    ]


@pytest.mark.parametrize(
    "use",
    ["kept = everyone[mine]\nlog['reward'] = kept.mean()", "log['reward'] = (everyone * all_mask).sum()"],
)
def test_a_gather_that_is_a_mask_is_masked_instead(use: str) -> None:
    """By an index, or as a factor."""
    code = f"""
from jax.experimental.multihost_utils import process_allgather
everyone = process_allgather(rewards)
mine = all_mask = process_allgather(mask)
{use}
"""
    assert instead(code)[0].startswith('sl.masked("reward", rewards, mask)')
    assert all(line.startswith("sl.masked(") for line in instead(code))


def test_a_ratio_of_gathered_sums_is_a_ratio_instead() -> None:
    """Of the numbers that are written out, under the key that it had."""
    code = """
        import numpy as np
        from jax.experimental.multihost_utils import process_allgather
        total = process_allgather(np.array([hits, n])).sum(0)
        metrics = {"eval/accuracy": total[0] / total[1]}
        """
    (advice,) = instead(code)
    assert re.match(r'sl\.ratio\("eval/accuracy", hits, n\)  #', advice)


def test_two_sums_that_are_gathered_apart_and_divided_are_one_ratio_instead() -> None:
    """Of both findings, since each alone would be a total under the other's key."""
    found = instead(
        """
        class Trainer:
            def log_entropy(self, outputs):
                tokens = self.accelerator.gather_for_metrics(outputs.tokens).sum()
                entropy = self.accelerator.gather_for_metrics(outputs.entropy).sum()
                self._metrics["entropy"].append((entropy / tokens).item())
        """
    )
    assert len(found) == 2
    assert all(each.startswith('sl.ratio("entropy", outputs.entropy, outputs.tokens)') for each in found)


def test_texts_that_are_gathered_are_a_sample_and_a_list_is_not_unpacked_as_a_dict() -> None:
    (texts,) = instead(
        """
        from accelerate.utils import gather_object
        def log(self):
            self._logs["prompt"].extend(gather_object(prompts))
        """
    )
    assert texts.startswith('sl.sample("samples", prompt=prompts)')
    (numbers,) = instead(
        """
        import torch.distributed as dist
        def over_all(timing_list):
            dist.all_reduce(timing_list)
            timings = {name: timing_list[i].item() for i, name in enumerate(names)}
            return timings
        """
    )
    assert "**" not in numbers


def test_a_metric_without_a_key_is_called_by_what_was_gathered() -> None:
    """And not by the method that was called on it."""
    (found,) = instead(
        """
        class Trainer:
            def log_loss(self, kl):
                print(self.accelerator.gather(kl.detach().float()).mean().item())
        """
    )
    assert found.startswith('sl.summary("kl", kl.detach().float())')


def test_what_is_read_back_from_a_dict_of_metrics_is_what_was_put_under_that_key() -> None:
    """A margin of two rewards does not name all that the trainer has logged."""
    found = instead(
        """
        class Trainer:
            def log(self, kl, chosen, rejected):
                self._metrics["kl"].append(self.accelerator.gather(kl).mean().item())
                self._metrics["reward/chosen"].append(self.accelerator.gather(chosen).mean().item())
                self._metrics["reward/margin"].append(self._metrics["reward/chosen"][-1] - rejected)
        """
    )
    assert [each.partition("  #")[0] for each in found] == [
        'sl.summary("kl", kl)', 'sl.summary("reward/chosen", chosen)'
    ]  # fmt: skip
