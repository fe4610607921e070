"""A controller in the manner of verl: stages timed into one dict, everything to a tracking object."""

import time
from collections import defaultdict
from contextlib import contextmanager

import numpy as np
import ray
import swanlab
import torch
import torch.distributed as dist
from torch.utils.tensorboard import SummaryWriter


@contextmanager
def stage(name, timing_raw):
    begin = time.perf_counter()
    yield
    timing_raw[name] = time.perf_counter() - begin  # expect: SL104


def reduce_metrics(metrics):
    return {key: np.mean(values) for key, values in metrics.items()}


class Tracking:
    """Every back end behind one log method."""

    def __init__(self, project, experiment, backends, config):
        self.backends = backends
        self.tensorboard = SummaryWriter(f"tb/{experiment}") if "tensorboard" in backends else None
        if "swanlab" in backends:
            swanlab.init(project=project, experiment_name=experiment, config=config)

    def log(self, data, step):
        if "swanlab" in self.backends:
            swanlab.log(data, step=step)  # expect: SL101
        if self.tensorboard is not None:
            for key, value in data.items():
                self.tensorboard.add_scalar(key, value, step)  # expect: SL101


class ActorWorker:
    def __init__(self, module, optimizer, config):
        self.module, self.optimizer, self.config = module, optimizer, config

    def update_actor(self, batches):
        metrics = defaultdict(list)
        for batch in batches:
            log_prob = self.module(batch["input_ids"])
            ratio = torch.exp(log_prob - batch["old_log_prob"])
            pg_loss = -(ratio * batch["advantages"]).mean()
            pg_loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.grad_clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            metrics["actor/pg_loss"].append(pg_loss.detach().item())  # expect: SL103
        seen = torch.tensor(len(batches), device="cuda")
        dist.all_reduce(seen)  # expect: SL102
        metrics["actor/minibatches"] = [seen.item()]
        metrics["actor/grad_norm"] = [norm]
        return metrics


class RayTrainer:
    def __init__(self, config, rollout, actor, reward_fn, loader):
        self.config, self.rollout, self.actor = config, rollout, actor
        self.reward_fn, self.loader = reward_fn, loader

    def fit(self):
        logger = Tracking(self.config.project, self.config.experiment, self.config.logger, self.config)
        for global_step, batch in enumerate(self.loader):
            metrics, timing_raw = {}, {}
            start = time.time()
            with stage("gen", timing_raw):
                batch = ray.get(self.rollout.generate.remote(batch))
            with stage("reward", timing_raw):
                scores = self.reward_fn(batch)
            with stage("update_actor", timing_raw):
                actor_output = ray.get(self.actor.update_actor.remote(batch))
            metrics.update(reduce_metrics(actor_output))
            metrics["critic/score/mean"] = float(np.mean(scores))
            metrics["perf/time_per_step"] = time.time() - start  # expect: SL104
            metrics.update({f"timing_s/{name}": value for name, value in timing_raw.items()})
            logger.log(metrics, global_step)
