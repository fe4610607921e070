"""Which of a run's metrics are looked at first, by the usual names of docs/naming.md."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from sightline.aliases import alias_targets
from sightline.errors import SightlineError
from sightline.values.naming import RESERVED

#: What is looked for in turn: patterns of keys, the best first, and how many are taken.
_WANTED: tuple[tuple[tuple[str, ...], int], ...] = (
    (("train/reward/total/mean", "train/reward/mean", "train/reward", "*/reward/total/mean"), 1),
    (("train/reward/*/mean", "rollout/reward/*", "*reward*/mean", "*reward*"), 1),
    (("train/loss", "*/loss", "*/loss/mean", "*loss*"), 1),
    (
        (
            "eval/pass@*",
            "eval*/pass@*",
            "eval/accuracy*",
            "eval*/accuracy*",
            "eval/ndcg@10",
            "eval/hr@10",
            "eval*/ndcg@10",
            "eval*/hr@10",
            "eval*/ndcg@*",
            "eval*/hr@*",
        ),
        2,
    ),
    (("eval/reward/total/mean", "eval*/reward/total/mean", "eval*/*reward*/mean"), 1),
    (("eval*/loss", "eval*/*/mean", "eval*/*"), 1),
    (("train/kl", "*/kl", "*/kl/mean", "train/policy_kl", "*/policy_kl*"), 2),
    (("train/entropy", "*/entropy", "*/entropy/mean"), 1),
    (("train/grad_norm", "*/grad_norm*"), 1),
    (("train/clip_fraction", "*/clip_fraction*"), 1),
    (("train/reward/zero_variance_groups", "train/pass@*"), 1),
    (("train/completion_length/mean", "*completion_length*/mean", "*length*/mean"), 1),
    (("throughput/train/tokens_per_s", "throughput/*tokens*", "throughput/*"), 2),
    (("train/lr", "*/lr"), 1),
)
#: Namespaces before and behind those of the user's own.
_FIRST = ("train", "eval", "rollout", "throughput", "warmup")
_LAST = ("time", "timeperf", "obs", "jax", "host")
_ENOUGH = 6  # else others are taken too
_MOST = 12
#: Statistics that say little by themselves.
_STATISTIC = re.compile(r"/(std|min|max|sum|count|p\d+(\.\d+)?)$")


def chosen(keys: Sequence[str], patterns: Sequence[str] = (), dull: Container[str] = ()) -> list[str]:
    """The keys to show: those that fit the patterns, in their order, or else a sensible choice.

    Args:
        keys: all, in the run's order.
        patterns: as of :func:`fnmatch.fnmatch`.
        dull: what no choice takes that is not asked for.

    Example:
        >>> keys = ["time/train/step_s", "train/kl", "train/loss", "train/reward/total/mean", "eval/pass@1"]
        >>> chosen(keys)
        ['train/reward/total/mean', 'train/loss', 'eval/pass@1', 'train/kl']
        >>> chosen(keys, ["train/k*", "*loss"])
        ['train/kl', 'train/loss']
    """
    if patterns:
        return list(dict.fromkeys(key for each in patterns for key in keys if fnmatchcase(key, each)))
    usual = [
        key
        for key in keys
        if not key.startswith((RESERVED, "time/", "host/", "jax/"))
        and not _STATISTIC.search(key)
        and key not in dull
    ]
    found: dict[str, None] = {}
    for wanted, count in _WANTED:
        fits = dict.fromkeys(key for each in wanted for key in usual if fnmatchcase(key, each))
        for key in [key for key in fits if key not in found][:count]:
            found[key] = None
    if len(found) < _ENOUGH:
        found |= dict.fromkeys([key for key in usual if key not in found][: _MOST - len(found)])
    return list(found)[:_MOST]


def filtered(keys: Iterable[str], typed: str) -> list[str]:
    """The keys in which each typed word stands somewhere, also with ``*``; small and capital letters alike.

    By namespace: first what training and evaluations are about, then names of the user's own, then times,
    what went wrong, and machines; within one as they come.

    Example:
        >>> filtered(["train/Loss", "eval/loss", "train/kl"], "loss tr"), filtered(["a/b", "b/a"], "a*b")
        (['train/Loss'], ['a/b'])
        >>> filtered(["time/train/step_s", "mine", "eval_full/loss", "train/kl"], "")
        ['train/kl', 'eval_full/loss', 'mine', 'time/train/step_s']
    """
    patterns = [f"*{word.lower()}*" for word in typed.split()]
    fitting = [key for key in keys if all(fnmatchcase(key.lower(), each) for each in patterns)]
    return sorted(fitting, key=_place)


def _place(key: str) -> int:
    """Where the namespace of a key stands."""
    name = "eval" if key.startswith(("eval_", "eval-")) else key.partition("/")[0]
    if name in _FIRST:
        return _FIRST.index(name) - len(_FIRST)
    return _LAST.index(name) + 1 if name in _LAST else 0


def own(keys: Iterable[str], run: Mapping[str, Any] | None) -> list[str]:
    """The keys without those that are but other names of a key, by the ``run`` line of the journal."""
    keys = list(keys)
    aliases = (run or {}).get("aliases")
    if not isinstance(aliases, Mapping) or not aliases:
        return keys
    try:
        table = {str(key): [str(name) for name in names] for key, names in aliases.items()}
        mirrored = {name for key in keys for name in alias_targets(key, table)}
    except (SightlineError, TypeError):  # aliases of a later version
        return keys
    derived = {str(name) for name in (run or {}).get("derived") or ()}
    return [key for key in keys if key not in mirrored and key not in derived]


def is_goal(key: str) -> bool:
    """Whether more of it is better, as far as its name tells.

    Example:
        >>> is_goal("train/reward/total/mean"), is_goal("train/loss"), is_goal("train/reward/group/std")
        (True, False, False)
    """
    if _STATISTIC.search(key) or "zero_variance" in key:
        return False
    return re.search(r"reward|accuracy|pass@|hr@|ndcg@|throughput", key) is not None
