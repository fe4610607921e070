"""Looking for what is wrong with an installation or a run; every finding has its fix."""
