"""What sightline costs, as ratios against the usual ways; run with ``make bench``.

Absolute times mean little on a shared machine. Each figure is a ratio of two things measured in turn, in one
run; printed are the median of the rounds and the middle half of them.
"""
