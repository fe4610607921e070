"""Run as a module: the decoders on one device and on two find the same. Prints what they found."""

from __future__ import annotations

import json
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import numpy as np
from jax.sharding import Mesh

from runners.common.mesh import AXIS, local_rows, put_replicated, put_rows
from runners.common.model import init_params
from runners.recommendation.decoding import make_beam_search, make_sampler
from tests.runners.recommendation.test_decoding import MODEL, TRIE


def main() -> None:
    params = jax.tree.map(lambda x: 8 * np.array(x) if x.ndim > 1 else np.array(x), init_params(MODEL, 3))
    tokens = np.random.default_rng(0).integers(3, MODEL.vocab_size, (6, 5)).astype(np.int32)
    found = {}
    for devices in (1, 2):
        mesh = Mesh(np.array(jax.devices()[:devices]), (AXIS,))
        weights, prompts = put_replicated(mesh, params), put_rows(mesh, (tokens, np.ones_like(tokens, bool)))
        key = put_replicated(mesh, jax.random.key_data(jax.random.key(4)))
        beams = make_beam_search(mesh, MODEL, TRIE, beams=4)(weights, *prompts)
        drawn = make_sampler(mesh, MODEL, TRIE, candidates=4, temperature=1.0)(weights, *prompts, key)
        found[devices] = [local_rows(beams.items).tolist(), local_rows(drawn.items).tolist()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
