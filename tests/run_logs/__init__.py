"""The text logs of all processes, on one time."""
