"""What sightline knows of JAX. Nothing here is imported before it is used, and nothing starts a back end."""

from sightline.jax.distributed import initialize
from sightline.jax.monitoring import monitor

__all__ = ["initialize", "monitor"]
