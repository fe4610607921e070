"""The recording calls."""
