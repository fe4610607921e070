"""What a process sends to the root, and what the root asks of it."""
