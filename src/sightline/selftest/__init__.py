"""Trying all that sightline relies on, on every process of a job, without training."""
