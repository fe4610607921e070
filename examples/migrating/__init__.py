"""One runner that logs by hand, taken to sightline in six phases; `docs/migrating.md` walks through them.

    sightline launch -n 2 -- python -m examples.migrating.phase0 --output runs

`phase0` to `phase4` and `phase6` are one runner, in the manner of GRPO; `sft_phase0` and `sft_phase5` are
another one, with callbacks. `task` and `sft_task` are what they train, which no phase touches.
"""
