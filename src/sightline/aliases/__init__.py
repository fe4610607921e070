"""Old names beside the canonical ones, while dashboards move.

``sl.start(aliases=["verl", {"train/reward/": "train-reward/"}])`` takes the names of ready tables and tables
of your own. What an alias may be is in :class:`Alias`; docs/naming.md lists the ready tables.

Example:
    >>> import sightline as sl, tempfile
    >>> ours = sl.aliases.AliasTable("ours", {"train/": "old/"}, remove_after="2027-12-31")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with sl.start(folder, name="run", sinks=[], aliases=[ours, "trl"]) as run:
    ...         run.commit(1, {"train/kl": 0.5})
    ...     [r["values"] for r in sl.read_journal(run.dir) if r["type"] == "commit"]
    [{'train/kl': 0.5, 'kl': 0.5, 'old/kl': 0.5}]
"""

from sightline.aliases.combining import TABLES, Aliases, combined, warn_of_passed
from sightline.aliases.functions import Constant, Function, MeanOfLast, RunningTotal, Scaled
from sightline.aliases.mirror import Mirror
from sightline.aliases.table import Alias, AliasTable, alias_targets

__all__ = [
    "TABLES",
    "Alias",
    "AliasTable",
    "Aliases",
    "Constant",
    "Function",
    "MeanOfLast",
    "Mirror",
    "RunningTotal",
    "Scaled",
    "alias_targets",
    "combined",
    "warn_of_passed",
]
