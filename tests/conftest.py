"""Settings and fixtures for all tests."""

import os

from hypothesis import settings

os.environ.setdefault("JAX_PLATFORMS", "cpu")

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")
