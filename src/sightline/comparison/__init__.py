"""How runs differ, and which differences are more than noise."""
