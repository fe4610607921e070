"""What is recorded, as aggregates that merge."""
