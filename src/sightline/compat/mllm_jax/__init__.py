"""The observability of MLLM-JAX (its ``plugins/common``), over sightline's journal.

``sightline adopt mllm-jax PATH`` writes files into a checkout that import these names. Its runners stay as
they are: ``wandb.log`` calls go to the journal of a run in ``runs/<project>/<name>``, nothing is uploaded.
"""

from sightline.compat.mllm_jax.perf_tracer import PerfTracer, trace_perf, trace_scope
from sightline.compat.mllm_jax.stats_logger import StatsLogger, WandbRunSpec
from sightline.compat.mllm_jax.stats_tracker import StatsTracker
from sightline.compat.mllm_jax.text_logging import get_logger, setup_file_logging, setup_logging
from sightline.compat.mllm_jax.wandb_module import JournalWandb, maybe_init_wandb

__all__ = [
    "JournalWandb",
    "PerfTracer",
    "StatsLogger",
    "StatsTracker",
    "WandbRunSpec",
    "get_logger",
    "maybe_init_wandb",
    "setup_file_logging",
    "setup_logging",
    "trace_perf",
    "trace_scope",
]
