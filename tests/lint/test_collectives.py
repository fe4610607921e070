"""SL102: collectives that feed a metric."""

import pytest

from tests.lint.marked import assert_as_marked, instead


@pytest.mark.parametrize(
    "code",
    [
        """
        from jax.experimental import multihost_utils as mhu
        log = {"reward": mhu.process_allgather(reward).mean()}  # expect: SL102
        """,
        """
        import jax, numpy as np
        gathered = jax.experimental.multihost_utils.process_allgather(lengths)  # expect: SL102
        metrics["length/max"] = int(np.max(gathered))
        """,
        """
        from jax.experimental.multihost_utils import process_allgather as gather
        def mean_over_hosts(x):
            return float(gather(x).mean())  # expect: SL102
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        def everywhere(x): return process_allgather(x, tiled=True)
        def report(run, rewards, batch):
            run.log_metrics({"reward": everywhere(rewards).mean()})  # expect: SL102
            return pad(batch, int(everywhere(batch.length).max()))
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        metrics = process_allgather(metrics)  # expect: SL102
        """,
        """
        import jax
        from jax.experimental.multihost_utils import process_allgather
        import numpy as np
        metrics = jax.tree.map(lambda x: np.mean(process_allgather(x)), metrics)  # expect: SL102
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        import wandb
        hits, tries = process_allgather((hits, tries))  # expect: SL102
        accuracy = hits.sum() / tries.sum()
        if accuracy > best:
            best = accuracy
        wandb.log({"accuracy": accuracy})  # expect: SL101
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        from stats import summarize_stats
        stats = summarize_stats(process_allgather(rewards))  # expect: SL102
        log["reward/mean"] = stats["mean"]
        """,
        """
        import torch.distributed as dist
        def log_loss(loss, world_size):
            total = loss.detach().clone()
            dist.all_reduce(total)  # expect: SL102
            self.metrics["loss"] = total.item() / world_size
            gathered = [None] * world_size
            dist.all_gather_object(gathered, self.metrics)  # expect: SL102
            self.writer_metrics = {k: sum(each[k] for each in gathered) for k in self.metrics}
            return {"loss": total.item()}
        """,
        """
        class Trainer:
            def evaluate(self, loss):
                mean = self.accelerator.gather(loss).mean().item()  # expect: SL102
                self.log({"eval/loss": mean})
        """,
        """
        import jax
        average = jax.pmap(lambda tree: jax.tree.map(lambda x: jax.lax.pmean(x, "i"), tree), axis_name="i")
        metrics = average(metrics)  # expect: SL102
        """,
        """
        import jax, jax.numpy as jnp
        @jax.pmap
        def step(state, batch):
            rewards = jax.lax.all_gather(batch["rewards"], "batch")  # expect: SL102
            return state, {"reward_mean": rewards.mean()}
        """,
        """
        from mpi4py import MPI
        import numpy as np
        group = MPI.COMM_WORLD.Split(color=0)
        metrics = {"loss": group.allreduce(loss, op=MPI.SUM) / group.size}  # expect: SL102
        buffer = np.zeros(2)
        group.Allreduce(MPI.IN_PLACE, buffer)  # expect: SL102
        metrics["reward"] = buffer[0] / buffer[1]
        def report(comm, world: MPI.Comm, lengths):
            metrics["length/max"] = max(comm.allgather(lengths))  # expect: SL102
            metrics["length/mean"] = np.mean(world.gather(lengths, root=0))  # expect: SL102
        """,
        """
        import numpy as np
        from jax.experimental.multihost_utils import process_allgather
        def evaluate(hits, n):
            total = process_allgather(np.array([hits, n])).sum(0)  # expect: SL102
            return {"accuracy": total[0] / total[1]}
        def show(hits, n):
            right, asked = process_allgather(np.array([hits, n])).sum(axis=0)  # expect: SL102
            print(f"accuracy {right / asked}")
        def ratio(hits, n):
            counts = np.array([hits, n])
            total = np.sum(process_allgather(counts), axis=0)  # expect: SL102
            return total[0] / total[1]
        """,
        """
        import torch, torch.distributed as dist
        def evaluate(hits, n):
            counts = torch.tensor([hits, n])
            dist.all_reduce(counts)  # expect: SL102
            return {"accuracy": counts[0] / counts[1]}
        """,
    ],
)
def test_a_collective_whose_values_become_metrics_is_found(code: str) -> None:
    """By its mean, its sum, its float, its dict, through helpers that return what they gather."""
    assert_as_marked(code)


@pytest.mark.parametrize(
    "code",
    [
        """
        from jax.experimental.multihost_utils import process_allgather
        import numpy as np
        n = int(process_allgather(np.int32(x.shape[1])).max())
        x = np.pad(x, ((0, 0), (0, n - x.shape[1])))
        log["padded_length"] = n
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        import jax.numpy as jnp
        longest = process_allgather(lengths).max()
        cache = jnp.zeros((batch, longest, heads, width))
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        def global_max_length(lengths):
            return int(process_allgather(lengths).max())
        def num_examples(count):
            return int(process_allgather(count).sum())
        def any_failed(flag):
            return bool(process_allgather(flag).any())
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        steps = int(process_allgather(len(dataset)).sum()) // batch_size
        for step in range(steps):
            pass
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        rewards = process_allgather(local_rewards)
        baseline = rewards.mean()
        batch["advantages"] = local_rewards - baseline
        state, metrics = train_step(state, batch)
        """,
        """
        from jax.experimental.multihost_utils import process_allgather
        everyone = process_allgather(predictions)
        np.save("predictions.npy", everyone)
        def collect(x):
            return process_allgather(x)
        """,
        """
        import jax
        @jax.pmap
        def train_step(state, batch):
            loss, grads = jax.value_and_grad(loss_fn)(state.params, batch)
            grads = jax.lax.pmean(grads, "batch")
            metrics = jax.lax.pmean({"loss": loss}, "batch")
            return state.apply_gradients(grads=grads), metrics
        """,
        """
        import torch.distributed as dist
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
        dist.all_reduce(found_inf)
        if found_inf.item():
            optimizer.zero_grad()
        dist.broadcast(seed, src=0)
        dist.barrier()
        """,
        """
        rewards = self.accelerator.gather(rewards)
        advantages = (rewards - rewards.mean()) / rewards.std()
        return {"advantages": advantages[self.slice]}
        """,
        """
        import functools
        total = functools.reduce(lambda a, b: a + b, losses)
        metrics = {"loss": total, "names": gather(names)}
        """,
        """
        from mpi4py import MPI
        from detectron2.utils import comm
        import numpy as np
        world = MPI.COMM_WORLD
        print(world.allreduce(energy), float(world.allreduce(np.sum(field))))
        total = np.mean(world.allgather(energy))
        everyone = comm.gather(predictions)
        metrics = {"loss": evaluate(everyone)}
        """,
        """
        import numpy as np
        from jax.experimental.multihost_utils import process_allgather
        def agree(ours, theirs, use):
            total = process_allgather(np.array([ours, theirs])).sum(0)
            if total[0] != total[1]:
                return None
            return use(total[0])
        def room(a, b):
            most = process_allgather(np.array([a.shape[0], b.shape[0]])).max(0)
            return np.zeros(int(most[0])), np.zeros(most[1])
        def scaled(loss, count, gradients):
            total = process_allgather(np.array([loss, count])).sum(0)
            return gradients / total[1]
        def centred(rewards):
            everyone = process_allgather(rewards)
            return rewards - everyone.mean(0)
        """,
    ],
)
def test_a_collective_that_computation_needs_is_left_alone(code: str) -> None:
    """Sizes, decisions, gradients, normalisation, whole results; and reductions inside a compiled step."""
    assert_as_marked(code)


def test_the_call_to_write_instead_records_what_each_process_has() -> None:
    """Sums as totals, everything else as a summary, under the key that the metric had."""
    start = "from jax.experimental.multihost_utils import process_allgather\nimport numpy as np\n"
    assert instead(start + 'log["train/reward/mean"] = np.mean(process_allgather(rewards))')[0].startswith(
        'sl.summary("train/reward", rewards)'
    )
    assert instead(start + 'log["tokens"] = process_allgather(np.array([n])).sum()')[0].startswith(
        "sl.total(tokens=n)"
    )
    assert instead(start + "metrics = process_allgather(metrics)")[0].startswith("sl.scalar(**metrics)")


def test_a_collective_that_is_given_its_value_by_name_is_read_like_any_other() -> None:
    assert_as_marked(
        """
        import jax
        mean = jax.pmap(lambda x: jax.lax.pmean(x=x, axis_name="i"), axis_name="i")
        for step in range(9):
            metrics["loss"] = float(mean(losses).mean())  # expect: SL102
        """
    )


def test_a_flag_on_which_all_agree_is_no_metric() -> None:
    """Whoever stops, stops with the others."""
    assert_as_marked(
        """
        import torch, torch.distributed as dist
        def agreed(stop):
            flag = torch.tensor(float(stop))
            dist.all_reduce(flag)
            return bool(flag.item())
        """
    )


def test_a_norm_of_sharded_gradients_and_a_count_that_divides_the_loss_are_no_metrics() -> None:
    """Clipping and the loss need them of all processes; a project's own ``nanmin`` is a reduction."""
    assert_as_marked(
        """
        import numpy as np, torch, torch.distributed as dist
        from jax.experimental.multihost_utils import process_allgather
        def global_norm(grads, group):
            total_norm = torch.tensor(float(max(grads)))
            dist.all_reduce(total_norm, op=dist.ReduceOp.MAX, group=group)
            return float(total_norm.item())
        def show(grad_norm):
            print(float(np.mean(process_allgather(grad_norm))))  # expect: SL102
        class Trainer:
            def score(self, inputs):
                n = self.accelerator.gather(inputs["mask"].sum()).sum()
                return {"ids": inputs["ids"], "num_items_in_batch": n}
            def prepare(self, inputs):
                inputs = self.score(inputs)
                return inputs
            def compute_loss(self, ratio):
                low = self.accelerator.gather(ratio)  # expect: SL102
                self._metrics["clip_ratio/low_min"].append(nanmin(low).item())
        """
    )


def test_what_is_kept_to_go_on_from_it_is_no_metric() -> None:
    """A time that a ``state_dict`` has under a key like a metric's."""
    assert_as_marked(
        """
        import time, torch.distributed as dist
        class Every:
            def state_dict(self):
                return {"interval_seconds": self.interval}
            def is_due(self):
                self.interval = time.time() - self.last
                interval = torch.tensor(self.interval)
                dist.all_reduce(interval, op=dist.ReduceOp.MAX)
                self.interval = interval.item()
                return self.interval > self.seconds
        """
    )
