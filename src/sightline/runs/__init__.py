"""A run on disk: its directory, its journal, its state."""
