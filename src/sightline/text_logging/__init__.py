"""Text logs of every process: standard ``logging`` underneath, written in the background."""
