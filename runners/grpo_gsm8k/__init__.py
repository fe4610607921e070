"""GRPO on grade-school word problems: a reference loop for sightline, from scratch on any JAX devices.

    python -m runners.grpo_gsm8k --config runners/grpo_gsm8k/configs/demo.yaml

Read it in this order: `config`, `problems` and `data`, `tokenizer`, `rewards`, `rollout`, `metrics`,
`common/grpo`, `callbacks`, `train`.
"""
