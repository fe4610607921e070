"""The text logs of all processes of a run, on one time: finding, choosing, merging, following them.

Files are read block by block and merged as they are read, so that memory does not grow with them.
"""
