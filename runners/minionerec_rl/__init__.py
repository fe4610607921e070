"""GRPO for generative recommendation: a policy that was fine-tuned on semantic ids learns to rank.

    python -m runners.minionerec_rl --config runners/minionerec_rl/configs/demo.yaml

After MiniOneRec's second stage (arXiv:2510.24431); the first is `sid_sft`. Read it in this order: `config`,
`recommendation/` (what both stages share), `rewards`, `rollout`, `metrics`, `common/grpo`,
`callbacks`, `train`.
"""
