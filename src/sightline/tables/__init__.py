"""A run as tables: its commits, its processes' own values and its samples, as rows and columns, streamed."""
