"""`sightline lint`: finds logging by hand, and says what to write instead.

A file is read without being imported or run. :mod:`~sightline.lint.flow` follows what flows where; a file for
each rule decides what of it is a finding.
"""

from sightline.lint.checking import Report, check, check_paths
from sightline.lint.findings import RULES, Failure, Finding, Rule
from sightline.lint.source import Source, UnreadableError

__all__ = [
    "RULES",
    "Failure",
    "Finding",
    "Report",
    "Rule",
    "Source",
    "UnreadableError",
    "check",
    "check_paths",
]
