"""What one runner hands to the next: parameters with the vocabulary and the sizes they were made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from runners.common.checkpoint import Checkpoints
from runners.common.errors import CheckpointError
from runners.common.model import Decoder, init_params
from runners.common.tokenizer import Tokenizer


@dataclass(frozen=True)
class Policy:
    """A model that recommends, out of a checkpoint."""

    model: Decoder
    tokenizer: Tokenizer
    params: Any  # nested dict of NumPy arrays, as `init_params` makes them
    step: int  # of the run that it comes from
    source: Path  # the directory of the checkpoint


def describe_policy(model: Decoder, tokenizer: Tokenizer) -> dict[str, Any]:
    """The part of a checkpoint's metadata from which `load_policy` builds model and tokenizer; JSON."""
    return {
        "model": {"width": model.width, "layers": model.layers, "heads": model.heads},
        "vocabulary": {"words": list(tokenizer.words), "sid_tokens": list(tokenizer.added)},
    }


def load_policy(run_dir: str | Path, step: int | None = None) -> Policy:
    """The policy of a run's checkpoint `step` (none: its newest), whichever runner wrote it.

    Such a checkpoint has the parameters under `params` and `describe_policy` in its metadata. Nothing in
    `run_dir` is changed. Every process reads its own copy, or process 0's if it has none.

    Raises:
        CheckpointError: there is none, or it is no policy's.
    """
    checkpoints = Checkpoints.read_only(Path(run_dir))
    try:
        newest = checkpoints.newest_step() if step is None else step
        if newest is None:
            raise CheckpointError(f"{checkpoints.dir}: no checkpoint in it")
        source = checkpoints.dir / str(newest)
        if not source.is_dir():
            raise CheckpointError(f"{source}: no such checkpoint")
        meta = checkpoints.meta(newest)
        if "model" not in meta or "vocabulary" not in meta:
            raise CheckpointError(
                f"{source}: no model and vocabulary in its metadata; expected a checkpoint of a "
                f"recommendation runner"
            )
        tokenizer = tokenizer_of(meta)
        model = Decoder(tokenizer.vocab_size, **meta["model"])
        like = {"params": jax.eval_shape(lambda: init_params(model, 0))}
        arrays, _ = checkpoints.restore(newest, like)
    finally:
        checkpoints.close()
    return Policy(model, tokenizer, arrays["params"], newest, source)


def tokenizer_of(meta: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a checkpoint's metadata describes."""
    vocabulary = meta["vocabulary"]
    return Tokenizer(vocabulary["words"]).extended(vocabulary["sid_tokens"])


def check_vocabulary(source: Path | str, saved: Tokenizer, needed: Tokenizer, needed_by: str) -> None:
    """Whether a checkpoint's vocabulary is the one that the data needs.

    Raises:
        CheckpointError: it is not; the first token that differs is named.
    """
    if saved.words == needed.words and saved.added == needed.added:
        return
    for what, a, b in (("SID token", saved.added, needed.added), ("word", saved.words, needed.words)):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            first = [repr(tokens[at]) if at < len(tokens) else "nothing" for tokens in (a, b)]
            raise CheckpointError(
                f"{source}: its vocabulary is not that of {needed_by}: {what} {at} is {first[0]} in the "
                f"checkpoint and {first[1]} in the data ({len(a)} and {len(b)} {what}s)"
            )
