"""What a process holds between two commits."""
