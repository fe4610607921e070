"""What one runner hands to the next: parameters with the vocabulary and the sizes they were made for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax

from runners.common import metadata
from runners.common.checkpoint import Checkpoints
from runners.common.errors import CheckpointError
from runners.common.model import Decoder, init_params
from runners.common.sections import ModelConfig
from runners.common.tokenizer import Tokenizer
from runners.recommendation.catalogue import Catalogue


@dataclass(frozen=True)
class Policy:
    """A model that recommends, out of a checkpoint."""

    model: Decoder
    tokenizer: Tokenizer
    catalogue: str  # fingerprint of the items that it recommends
    params: Any  # nested dict of NumPy arrays, as `init_params` makes them
    step: int  # of the run that it comes from
    source: Path  # the directory of the checkpoint


def describe_policy(model: Decoder, tokenizer: Tokenizer, catalogue: Catalogue) -> dict[str, Any]:
    """The part of a checkpoint's metadata from which `load_policy` builds a policy; JSON."""
    return {
        "model": {"width": model.width, "layers": model.layers, "heads": model.heads},
        "vocabulary": {"words": list(tokenizer.words), "sid_tokens": list(tokenizer.added)},
        "catalogue": fingerprint(catalogue),
    }


def fingerprint(catalogue: Catalogue) -> str:
    """Which semantic id is which title: the number of items, and a digest of all pairs in any order.

    Example:
        >>> shop = Catalogue(("7", "8"), ("Hammer", "Saw"), (("<a_1>", "<b_1>", "<c_1>"), ("<a_2>",) * 3))
        >>> fingerprint(shop)
        '2 items, c7b6e0ad6509'
    """
    pairs = sorted(f"{catalogue.sid(i)}\t{title}" for i, title in enumerate(catalogue.titles))
    digest = hashlib.sha256("\n".join(pairs).encode()).hexdigest()
    return f"{len(catalogue)} items, {digest[:12]}"


def load_policy(run_dir: str | Path, step: int | None = None) -> Policy:
    """The policy of a run's checkpoint `step` (none: its newest), whichever runner wrote it.

    Such a checkpoint has the parameters under `params` and `describe_policy` in its metadata. Nothing in
    `run_dir` is changed. Every process reads its own copy, or process 0's if it has none.

    Raises:
        CheckpointError: there is none, or it is no policy's.
    """
    checkpoints = Checkpoints.read_only(Path(run_dir))
    try:
        if step is None and not checkpoints.steps():
            raise CheckpointError(f"{checkpoints.dir}: no checkpoint in it")
        newest = checkpoints.steps()[-1] if step is None else step
        source = checkpoints.dir / str(newest)
        if not source.is_dir():
            raise CheckpointError(f"{source}: no such checkpoint")
        meta = checkpoints.meta(newest)
        if not {"model", "vocabulary", "catalogue"} <= meta.keys():
            raise CheckpointError(
                f"{source}: no model, vocabulary and catalogue in its metadata; expected a checkpoint of a "
                f"recommendation runner"
            )
        tokenizer, catalogue = tokenizer_of(source, meta), catalogue_of(source, meta)
        sizes = metadata.section(source, meta, "model", ModelConfig)
        model = Decoder(tokenizer.vocab_size, **asdict(sizes))
        like = {"params": jax.eval_shape(lambda: init_params(model, 0))}
        arrays, _ = checkpoints.restore(newest, like)
    finally:
        checkpoints.close()
    return Policy(model, tokenizer, catalogue, arrays["params"], newest, source)


def tokenizer_of(source: Path, meta: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that the metadata of the checkpoint `source` describes.

    Raises:
        CheckpointError: it describes none.
    """
    vocabulary = metadata.mapping(source, meta, "vocabulary")
    words, added = (metadata.texts(source, vocabulary, name) for name in ("words", "sid_tokens"))
    return Tokenizer(words).extended(added)


def catalogue_of(source: Path, meta: Mapping[str, Any]) -> str:
    """The fingerprint of the items that the checkpoint `source` was trained with.

    Raises:
        CheckpointError: there is none in its metadata.
    """
    found: str = metadata.field(source, meta, "catalogue", lambda x: isinstance(x, str), "a string")
    return found


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


def check_catalogue(source: Path | str, saved: str, needed: Catalogue, needed_by: str) -> None:
    """Whether a checkpoint's semantic ids mean what they mean in the data: `saved` is its fingerprint.

    Raises:
        CheckpointError: they do not, or not all of them.
    """
    if saved != (found := fingerprint(needed)):
        raise CheckpointError(
            f"{source}: its semantic ids are not those of {needed_by}: it was trained with {saved}, "
            f"{needed_by} has {found}; expected the same index and item files, or the same `seed` and `data`"
        )
