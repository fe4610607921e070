"""Where the runner waits for a device: only where the host needs a value itself, and never to log one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

RUNNERS = Path(__file__).parents[2] / "runners"

#: What waits for a device when it is given a device value.
WAITING = {"block_until_ready", "device_get", "float", "asarray"}

DEVICE_VALUES = {
    "common/mesh.py local_rows device_get": "sampled tokens, which are decoded and rewarded on the host",
    "common/mesh.py to_host device_get": "parameters and optimiser state, for checkpoints and the outcome",
    "sid_sft/train.py run block_until_ready": "the end of a step: the host does not run away",
}
HOST_VALUES = {
    "common/config.py _convert float": "a setting",
    "common/comparison.py compare float": "right and wrong answers, gains",
    "common/mesh.py put_rows asarray": "rows on their way to the devices",
    "common/mesh.py put_replicated asarray": "the same",
    "common/checkpoint.py save asarray": "what `to_host` gave",
    "common/checkpoint.py newest_common_step asarray": "step numbers, gathered before training",
    "grpo_gsm8k/evaluate.py gather_correct asarray": "every single answer, gathered for the comparison",
    "common/grpo.py group_advantages asarray": "rewards",
    "common/grpo.py zero_variance_groups asarray": "rewards",
    "grpo_gsm8k/rewards.py correct float": "the text of an answer",
    "grpo_gsm8k/rewards.py format float": "a bool",
    "recommendation/ranking.py chance float": "a number of items",
    "sid_sft/train.py _better float": "ranks, which the evaluation has on the host",
}


def waiting(tree: ast.AST, function: str = "") -> Iterator[str]:
    """Each call of something that waits, itself or handed on, after the innermost function that it is in."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef) else function
        for called in (node.func, *node.args) if isinstance(node, ast.Call) else ():
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in WAITING and not ast.unparse(called).startswith("jnp."):
                yield f"{inside} {name}"
        yield from waiting(node, inside)


def test_the_runner_waits_for_its_devices_only_where_the_host_needs_the_values() -> None:
    found = {
        f"{file.relative_to(RUNNERS)} {call}"
        for file in RUNNERS.rglob("*.py")
        for call in waiting(ast.parse(file.read_text()))
    }
    assert found == {*DEVICE_VALUES, *HOST_VALUES}
