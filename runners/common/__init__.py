"""What the reference runners share: config loading, a small transformer, its sampler, the device mesh."""
