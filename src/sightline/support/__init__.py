"""What knows nothing of metrics: words, foreign text and numbers, blocks, clocks."""
