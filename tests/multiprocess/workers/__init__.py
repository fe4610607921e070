"""What the processes of the multi-process tests do: a module for each test file, a function a scenario."""
