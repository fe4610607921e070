"""What a journal has said so far, for those who show it."""
