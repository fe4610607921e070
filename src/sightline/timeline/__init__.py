"""One timeline of the trace files of all processes: finding, reading, correcting clocks, writing.

Files are read line by line and written as they are read, so that memory does not grow with them.
"""
