"""Run as a module: what the decoders find on two devices. The test compares it with what one device finds."""

from __future__ import annotations

import json
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

from runners.common.mesh import local_rows, make_mesh, put_replicated, put_rows
from runners.recommendation.decoding import make_beam_search, make_sampler
from tests.runners.recommendation.small_model import (
    DRAWS,
    MODEL,
    TRIE,
    key_data,
    make_prompts,
    wide_params,
)


def main() -> None:
    mesh = make_mesh()
    assert mesh.size == 2
    params, prompts = put_replicated(mesh, wide_params()), put_rows(mesh, make_prompts())
    beams = make_beam_search(mesh, MODEL, TRIE, beams=3)(params, *prompts)
    sample = make_sampler(mesh, MODEL, TRIE, candidates=DRAWS, temperature=1.0)
    drawn = sample(params, *prompts, put_replicated(mesh, key_data(1)))
    print(json.dumps({"beams": local_rows(beams.items).tolist(), "drawn": local_rows(drawn.items).tolist()}))


if __name__ == "__main__":
    main()
