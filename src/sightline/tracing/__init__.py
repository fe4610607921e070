"""Spans and rollout sessions, from the call to the file."""
