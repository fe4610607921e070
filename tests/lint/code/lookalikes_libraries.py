"""Names of trackers, communicators and timers that mean something else, or feed no metric."""

import threading
import timeit

import numpy as np
from accelerate import Accelerator
from codetiming import Timer
from mpi4py import MPI
from shipping.models.tracking import Tracking

from .jobs import Experiment, RepeatedTimer

comm = MPI.COMM_WORLD


class RunningMoments:
    """Observations are normalised over all processes."""

    def __init__(self, size):
        self.mean, self.count = np.zeros(size), 1e-4

    def update(self, x):
        total = np.zeros_like(self.mean)
        comm.Allreduce(x.sum(0), total, op=MPI.SUM)  # lookalike: SL102
        count = comm.allreduce(len(x), op=MPI.SUM)  # lookalike: SL102
        self.mean = (self.mean * self.count + total) / (self.count + count)
        self.count += count

    def __call__(self, x):
        return x - self.mean


def average_gradients(flat):
    summed = np.zeros_like(flat)
    comm.Allreduce(flat, summed, op=MPI.SUM)  # lookalike: SL102
    return summed / comm.Get_size()


def padded(rows):
    longest = comm.allreduce(max(map(len, rows)), op=MPI.MAX)  # lookalike: SL102
    return [row + [0] * (longest - len(row)) for row in rows]


def residual(mesh, field):
    """A solver's norm: it prints, and it stops."""
    norm = np.sqrt(comm.allreduce(float(field @ field), op=MPI.SUM))  # lookalike: SL102
    if comm.rank == 0:
        print(f"residual {norm:.3e}")
    return norm < mesh.tolerance


def everything(comm, parts):
    gathered = comm.gather(parts, root=0)  # lookalike: SL102
    if comm.rank == 0:
        np.save("parts.npy", np.concatenate(gathered))
    names = comm.allgather(MPI.Get_processor_name())  # lookalike: SL102
    return sorted(set(names))


def follow(parcel, stamp):
    tracking = Tracking(parcel)
    tracking.log(f"{parcel} left", stamp)  # lookalike: SL101
    return tracking


class Bench:
    """An experiment in a laboratory, and its own accelerator."""

    def __init__(self, experiment: Experiment, linac):
        self.experiment, self.linac = experiment, linac

    def run(self, text):
        self.experiment.log(text)  # lookalike: SL101
        self.linac.accelerator.tune(text)  # lookalike: SL101


def prepare(model, loader):
    accelerator = Accelerator(log_with="wandb")
    accelerator.init_trackers("p", config={"lr": 3e-4})  # lookalike: SL101
    accelerator.print("ready")  # lookalike: SL101
    accelerator.wait_for_everyone()
    return accelerator.prepare(model, loader)


def watch(journal):
    with Timer(name="all", text="took {:.1f} s", logger=journal.info) as timer:  # lookalike: SL104
        journal.read()
    print(f"{timer.last:.2f} s")  # lookalike: SL104
    return timer.last < 3.0  # lookalike: SL104


def schedule(function):
    timer = RepeatedTimer(60.0, function)
    status = {"time/interval": timer.interval, "time/alive": timer.is_alive()}  # lookalike: SL104
    once = threading.Timer(30.0, function)
    status["time/once"] = once.interval  # lookalike: SL104
    return status


def cost(statement):
    results = {"seconds": timeit.Timer(statement).timeit(100)}  # lookalike: SL104
    return results
