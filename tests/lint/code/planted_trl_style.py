"""A GRPO trainer in the manner of TRL: metrics as lists per key, gathered with accelerate."""

import time
from collections import defaultdict

import mlflow
import torch
import trackio
from accelerate import Accelerator
from accelerate.utils import gather


def profiling(function):
    def wrapper(self, *args, **kwargs):
        start_time = time.perf_counter()
        result = function(self, *args, **kwargs)
        duration = time.perf_counter() - start_time  # expect: SL104
        self._metrics[f"profiling/Time taken: {function.__name__}"].append(duration)
        return result

    return wrapper


class GRPOTrainer:
    def __init__(self, model, args, reward_funcs):
        self.model, self.args, self.reward_funcs = model, args, reward_funcs
        self.accelerator = Accelerator(gradient_accumulation_steps=args.accumulate)
        self._metrics = defaultdict(list)
        self.num_generations = args.num_generations

    @profiling
    def _generate_and_score(self, inputs):
        completions, mask = self.model.generate(inputs)
        lengths = self.accelerator.gather(mask.sum(1))  # expect: SL102
        self._metrics["completions/mean_length"].append(lengths.float().mean().item())
        self._metrics["completions/max_length"].append(lengths.float().max().item())

        rewards = torch.stack([fn(completions) for fn in self.reward_funcs], dim=1)
        rewards = gather(rewards)
        mean = rewards.view(-1, self.num_generations).mean(dim=1)
        advantages = rewards.view(-1) - mean.repeat_interleave(self.num_generations)
        return {"completions": completions, "mask": mask, "advantages": advantages}

    def compute_loss(self, inputs):
        logps = self.model(inputs["completions"])
        kl = (torch.exp(inputs["ref"] - logps) - (inputs["ref"] - logps) - 1) * inputs["mask"]
        mean_kl = kl.sum() / inputs["mask"].sum()
        gathered = self.accelerator.gather_for_metrics(mean_kl)  # expect: SL102
        self._metrics["kl"].append(gathered.nanmean().item())
        return -(logps * inputs["advantages"]).mean() + self.args.beta * mean_kl

    def training_step(self, inputs):
        inputs = self._generate_and_score(inputs)
        loss = self.compute_loss(inputs)
        self.accelerator.backward(loss)
        self._metrics["loss"].append(loss.item())  # expect: SL103
        return loss.detach() / self.args.accumulate

    def log(self, logs, step):
        logs = {**logs, **{key: sum(values) / len(values) for key, values in self._metrics.items()}}
        self._metrics.clear()
        if "mlflow" in self.args.report_to:
            mlflow.log_metrics(logs, step=step)  # expect: SL101
        if "trackio" in self.args.report_to:
            trackio.log(logs)  # expect: SL101

    def train(self, loader):
        for step, inputs in enumerate(loader):
            self.training_step(inputs)
            if step % self.args.logging_steps == 0:
                self.log({"epoch": step / len(loader)}, step)
