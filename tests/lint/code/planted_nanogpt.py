"""nanoGPT's loop in PyTorch, DDP and all."""

import math
import os
import time

import torch
from torch.distributed import all_reduce, init_process_group
from torch.nn.parallel import DistributedDataParallel as DDP

wandb_log = True
wandb_project = "owt"
log_interval = 10
eval_interval = 2000
gradient_accumulation_steps = 40
learning_rate = 6e-4
max_iters = 600000

ddp = int(os.environ.get("RANK", -1)) != -1
if ddp:
    init_process_group(backend="nccl")
master_process = int(os.environ.get("RANK", 0)) == 0


def get_lr(it):
    return learning_rate * 0.5 * (1.0 + math.cos(math.pi * it / max_iters))


def train(model, optimizer, scaler, get_batch, ctx):
    model = DDP(model) if ddp else model
    raw_model = model.module if ddp else model
    if wandb_log and master_process:
        import wandb

        wandb.init(project=wandb_project, name="gpt2-124M")
    X, Y = get_batch("train")
    t0 = time.time()
    running_mfu = -1.0
    for iter_num in range(max_iters):
        lr = get_lr(iter_num)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for micro_step in range(gradient_accumulation_steps):
            with ctx:
                logits, loss = model(X, Y)
                loss = loss / gradient_accumulation_steps
            X, Y = get_batch("train")
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

        t1 = time.time()
        dt = t1 - t0  # expect: SL104
        t0 = t1
        if iter_num % log_interval == 0:
            mean_loss = loss.detach().clone()
            all_reduce(mean_loss)  # expect: SL102
            lossf = loss.item() * gradient_accumulation_steps  # expect: SL103
            if master_process:
                mfu = raw_model.estimate_mfu(gradient_accumulation_steps, dt)
                running_mfu = mfu if running_mfu == -1.0 else 0.9 * running_mfu + 0.1 * mfu
                print(f"iter {iter_num}: loss {lossf:.4f}, time {dt * 1000:.2f}ms, mfu {running_mfu * 100:.2f}%")
                if wandb_log:
                    wandb.log(  # expect: SL101
                        {
                            "iter": iter_num,
                            "train/loss": lossf,
                            "train/mean_loss": mean_loss.item() / int(os.environ["WORLD_SIZE"]),
                            "perf/iter_ms": dt * 1000,
                            "lr": lr,
                        }
                    )
