"""A controller with verl's tracker and codetiming's timers; PPO over MPI."""

from contextlib import contextmanager

import numpy as np
from codetiming import Timer
from mpi4py import MPI
from verl.utils.tracking import Tracking

from .utils import Stopwatch


@contextmanager
def stage(name, timing_raw):
    with Timer(name=name, logger=None) as timer:
        yield
    timing_raw[name] = timing_raw.get(name, 0) + timer.last  # expect: SL104


class Controller:
    def __init__(self, config, workers, loader):
        self.config, self.workers, self.loader = config, workers, loader
        self.global_steps = 0

    def fit(self):
        tracking = Tracking(
            self.config.project, self.config.name, self.config.backends, config=vars(self.config)
        )
        clock = Timer("controller", logger=None)
        for batch in self.loader:
            metrics, timing_raw = {}, {}
            clock.start()
            with stage("gen", timing_raw):
                batch = self.workers.generate(batch)
            with Stopwatch() as watch:
                self.workers.update(batch)
            metrics["timing_s/update"] = watch.elapsed  # expect: SL104
            metrics["timing_s/step"] = clock.stop()  # expect: SL104
            metrics.update({f"timing_s/{name}": seconds for name, seconds in timing_raw.items()})
            tracking.log(data=metrics, step=self.global_steps)  # expect: SL101
            self.global_steps += 1
        slowest = {"timing_s/gen_max": Timer.timers.max("gen")}  # expect: SL104
        Tracking("p", "end", ["console"]).log(data=slowest, step=self.global_steps)  # expect: SL101


def mpi_mean(x):
    return MPI.COMM_WORLD.allreduce(x, op=MPI.SUM) / MPI.COMM_WORLD.Get_size()


class Ppo:
    def __init__(self, policy, env, comm=None):
        self.policy, self.env = policy, env
        self.comm = comm or MPI.COMM_WORLD.Dup()

    def report(self, returns, lengths, logger):
        everyone = self.comm.allgather(returns)  # expect: SL102
        logger.log_metrics({"return/mean": np.mean(np.concatenate(everyone))})
        stats = {"length/mean": mpi_mean(np.mean(lengths))}  # expect: SL102
        total = np.zeros(1)
        self.comm.Allreduce(np.array([len(lengths)], float), total, op=MPI.SUM)  # expect: SL102
        stats["episodes/finished"] = total[0]
        logger.log_metrics(stats)


def reward_of_all(comm, rewards, metrics):
    metrics["reward/max"] = comm.allreduce(max(rewards), op=MPI.MAX)  # expect: SL102
    found = comm.gather(rewards, root=0)  # expect: SL102
    if comm.rank == 0:
        metrics["reward/std"] = np.std(np.concatenate(found))
