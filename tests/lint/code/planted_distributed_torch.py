"""A torch FSDP loop: tensors of sums reduced for printing, timers of its own."""

import os
import time
from collections import deque

import torch
import torch.distributed as dist
import wandb
from tqdm import tqdm


class AverageMeter:
    def __init__(self):
        self.sum = self.count = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


class Clock:
    """Stages, by name."""

    def __init__(self):
        self.began = {}
        self.spent = {}

    def tic(self, name):
        torch.cuda.synchronize()
        self.began[name] = time.perf_counter()

    def toc(self, name):
        torch.cuda.synchronize()
        self.spent[name] = time.perf_counter() - self.began[name]  # expect: SL104


def train_epoch(model, loader, optimizer, epoch, clock, meter):
    window = deque(maxlen=20)
    ddp_loss = torch.zeros(2, device="cuda")
    bar = tqdm(total=len(loader), disable=dist.get_rank() != 0)
    for batch in loader:
        clock.tic("forward")
        output = model(batch["input_ids"], labels=batch["labels"])
        clock.toc("forward")
        loss = output["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        meter.update(loss.item(), len(batch))  # expect: SL103
        window.append(float(loss))  # expect: SL103
        ddp_loss[0] += loss.detach()
        ddp_loss[1] += len(batch)
        bar.set_postfix(loss=meter.avg)
        bar.update(1)
    dist.all_reduce(ddp_loss, op=dist.ReduceOp.SUM)  # expect: SL102
    train_loss = ddp_loss[0] / ddp_loss[1]
    if dist.get_rank() == 0:
        print(f"epoch {epoch}: loss {train_loss.item():.4f}, window {sum(window) / len(window):.4f}")
        wandb.log({"train/loss": train_loss, **{f"time/{k}": v for k, v in clock.spent.items()}})  # expect: SL101
    return train_loss


def validate(model, loader):
    correct = torch.zeros(1, device="cuda")
    for batch in loader:
        correct += (model(batch["input_ids"]).argmax(-1) == batch["labels"]).float().mean()
    per_rank = [torch.zeros_like(correct) for _ in range(dist.get_world_size())]
    dist.all_gather(per_rank, correct)  # expect: SL102
    return {"val/accuracy": torch.stack(per_rank).mean().item() / len(loader)}


def main():
    dist.init_process_group("nccl")
    run = wandb.init(project="fsdp") if int(os.environ["RANK"]) == 0 else None
    model, optimizer, train_loader, val_loader = build()
    clock, meter = Clock(), AverageMeter()
    for epoch in range(10):
        t0 = time.monotonic()
        train_epoch(model, train_loader, optimizer, epoch, clock, meter)
        scores = validate(model, val_loader)
        scores["epoch_minutes"] = (time.monotonic() - t0) / 60  # expect: SL104
        if run:
            run.log(scores, step=epoch)  # expect: SL101
    dist.destroy_process_group()
