"""What all reference runners share: configs, a small transformer and its sampler, the mesh, checkpoints."""
