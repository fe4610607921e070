"""Supervised fine-tuning on semantic ids: a model learns to say which item a user chooses next.

    python -m runners.sid_sft --config runners/sid_sft/configs/demo.yaml

After MiniOneRec's first stage (arXiv:2510.24431). Read it in this order: `config`, `recommendation/` (what it
shares with the reinforcement learning that follows), `mixture`, `sft`, `callbacks`, `metrics`, `train`.
"""
