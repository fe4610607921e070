"""Names: what a key may look like and how it should, and how scopes and suffixes build it.

Keys are paths such as ``train/reward/total/mean``. Two rules keep every dashboard able to show them:
a key is never the folder of another (``loss`` beside ``loss/max``), and ``__count`` is reserved for counts.
The conventions, by which a key means the same in every run, are those of docs/naming.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

COUNT_SUFFIX = "__count"
TIMING_KEY = "time/{key}_s"
RESERVED = "obs/"
LEADING = ("time", "timeperf", "throughput")  #: what stands before the scope in keys of times and rates
#: What the first part of a key may be; ``eval_<name>`` besides.
NAMESPACES = ("train", "eval", "warmup", "rollout", "time", "throughput", "jax", "host", "obs")

_PART = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*(@[a-z0-9]+)?")
_QUANTILE = re.compile(r"p\d+(\.\d+)?")
_STATISTICS = {"mean", "std", "min", "max", "sum", "count"}
_TIMING = re.compile(r".+_s(_max|_slowest)?")
_SECONDS = {"sec", "secs", "second", "seconds"}
_NOT_SECONDS = {
    "ms",
    "msec",
    "msecs",
    "millis",
    "milliseconds",
    "us",
    "usec",
    "ns",
    "nsec",
    "minutes",
    "hours",
}
OTHER_STATISTICS = {"avg": "mean", "average": "mean", "stdev": "std", "stddev": "std", "minimum": "min",
                     "maximum": "max", "median": "p50"}  # fmt: skip
#: Of metrics and settings, in which such a word is no statistic and no number.
_NAMES = {"average_precision", "mean_iou", "max_abs", "max_length", "min_length", "max_tokens", "max_steps",
          "max_grad_norm", "min_p", "n_gram", "n_grams", "n_step"}  # fmt: skip
_DURATIONS = {"duration", "durations", "elapsed"}
_SHARED_RATE = re.compile(r"(?P<amount>.+)_per_(?:s|sec|secs|second|seconds|minute)_per_(?P<unit>.+)")
_PERCENT = {"pct", "percent", "percentage"}


def check_key(key: object) -> str:
    """Returns ``key`` if it can name a metric, else raises ``ValueError`` that says what is wrong.

    Example:
        >>> check_key("reward/total")
        'reward/total'
        >>> check_key("loss//kl")
        Traceback (most recent call last):
        ...
        ValueError: 'loss//kl' has an empty part; write parts divided by single slashes, as in 'reward/total'
    """
    if not isinstance(key, str):
        raise ValueError(f"{key!r} is a {type(key).__name__}; a key is a string, as in 'reward/total'")
    if not key or key[0] == "/" or key[-1] == "/" or "//" in key:
        raise ValueError(
            f"{key!r} has an empty part; write parts divided by single slashes, as in 'reward/total'"
        )
    if not key.isprintable():
        raise ValueError(f"{key!r} has control characters; they would break log lines and tables")
    if key.endswith(COUNT_SUFFIX):
        raise ValueError(
            f"{key!r} ends in {COUNT_SUFFIX!r}, which is reserved for the counts beside each key"
        )
    return key


def join(scope: str, key: str) -> str:
    """``key`` under ``scope``; an empty scope adds nothing."""
    return f"{scope}/{key}" if scope else key


def under(name: str, key: str) -> str:
    """``key`` as it would be if it had been recorded in the scope ``name``.

    Example:
        >>> under("actor", "loss"), under("actor", "time/update_s")
        ('actor/loss', 'time/actor/update_s')
    """
    leading, slash, rest = key.partition("/")
    return f"{leading}/{name}/{rest}" if slash and leading in LEADING else join(name, key)


def ancestors(key: str) -> Iterator[str]:
    """The proper prefixes of a key that end before a slash, shortest first.

    Example:
        >>> list(ancestors("a/b/c"))
        ['a', 'a/b']
    """
    at = key.find("/")
    while at != -1:
        yield key[:at]
        at = key.find("/", at + 1)


def unconventional(key: str, *, namespaces: Sequence[str] = ()) -> str | None:
    """Why a key, as it is exported, is outside of sightline's conventions; None if it keeps them.

    Args:
        key: with its scope, as in ``train/reward/total/mean``.
        namespaces: first parts that are welcome besides :data:`NAMESPACES` and ``eval_<name>``.

    Example:
        >>> unconventional("train/reward/total/mean")
        >>> unconventional("train/step_time_sec")
        "'step_time_sec' is a duration: record it with record_timing, which makes it 'time/train/step_s'"
        >>> unconventional("rewards/total/mean")
        "its first part 'rewards' is none of train, eval, warmup, rollout, time, throughput, jax, host, obs"
        >>> unconventional("actor/loss", namespaces=("actor",))
    """
    first, _, _ = key.partition("/")
    known = (*NAMESPACES, *namespaces)
    if first not in known and not (first.startswith("eval_") and _PART.fullmatch(first)):
        return f"its first part {first!r} is none of {', '.join(known)}"
    if key == first:
        return f"it is the namespace alone: name what is measured, as in '{first}/loss'"
    if key.startswith(RESERVED):
        return None  # holds the names of sinks
    parts = key.split("/")
    for part in parts:
        if not _PART.fullmatch(part) and not (part == parts[-1] and _QUANTILE.fullmatch(part)):
            return (
                f"{part!r} is not in snake_case: small letters, digits and single underscores, as in 'hr@10'"
            )
    is_plain = True
    if _is_statistic(parts[-1]) and len(parts) > 2:
        statistic, is_plain = parts.pop(), False  # of a summary
        if _is_statistic(parts[-1]) and len(parts) > 2:
            return f"{parts[-1]!r} and {statistic!r} are two statistics: keep one, as in {'/'.join(parts)!r}"
        if parts[-1].endswith("_s") and not parts[-1].endswith("_per_s"):
            return None  # of many durations, such as those of sessions; it is no timing of the step
    if first == "time":
        return _odd_timing(parts[-1])
    for part in parts[1:-1]:
        if reason := _odd_part(part, first, "/".join(parts[:-1])):
            return reason
    if reason := _odd_part(parts[-1], first, "/".join(parts[:-1]), is_last=True, is_plain=is_plain):
        return reason
    if first == "throughput" and not parts[-1].endswith("_per_s"):
        return f"{parts[-1]!r} is no rate by the second: record it with rate, which makes it '{key}_per_s'"
    return None


def is_namespace(name: object) -> bool:
    """Whether ``name`` can be the first part of keys: one word in snake_case."""
    return isinstance(name, str) and _PART.fullmatch(name) is not None


def _odd_timing(name: str) -> str | None:
    if _TIMING.fullmatch(name):
        return None
    base = re.sub(f"_({'|'.join((*_SECONDS, *_NOT_SECONDS))})$", "", name)
    return f"{name!r} is no time in seconds: timings are spelled time/<scope>/<key>_s, as in '{base}_s'"


def _is_statistic(part: str) -> bool:
    return part in _STATISTICS or _QUANTILE.fullmatch(part) is not None


def _odd_part(
    part: str, namespace: str, scope: str, *, is_last: bool = False, is_plain: bool = False
) -> str | None:
    """Why one part of a key that is no timing is spelled unlike ours; ``is_plain`` without a statistic."""
    words = part.split("_")
    head, last = "_".join(words[:-1]), words[-1]
    if len(words) > 2 and words[-2] == "per" and last in {"s", *_SECONDS, *_NOT_SECONDS}:
        if last == "s" and namespace in ("throughput", "host"):  # a machine's rates are gauges, not amounts
            return None
        where = scope if namespace == "throughput" else f"throughput/{scope}"
        return (
            f"{part!r} is a rate: record it with rate, which makes it '{where}/{'_'.join(words[:-2])}_per_s'"
        )
    if found := _SHARED_RATE.fullmatch(part):
        amount, unit = found["amount"], found["unit"]
        return (
            f"{part!r} is a rate: record it with rate, which makes it "
            f"'throughput/{scope}/{amount}_per_{unit}_per_s'"
        )
    if (head or is_last) and last in {"s", "time", *_SECONDS, *_NOT_SECONDS, *_DURATIONS}:
        head = head.removesuffix("_time") or "step"
        return f"{part!r} is a duration: record it with record_timing, which makes it 'time/{scope}/{head}_s'"
    if part in _NAMES:
        return None
    if words[0] in OTHER_STATISTICS or last in OTHER_STATISTICS:
        word = last if last in OTHER_STATISTICS else words[0]
        rest = "_".join(words[:-1] if word == last else words[1:])
        ours = OTHER_STATISTICS[word]
        return f"{part!r}: the statistic is spelled {ours!r}, as a part of its own{_as_in(rest, ours)}"
    if head and (_QUANTILE.fullmatch(last) or last in _STATISTICS) and (last != "count" or is_plain):
        return f"{part!r}: a statistic is a part of its own{_as_in(head, last)}"
    if len(words) > 1 and words[0] in _STATISTICS - {"sum", "count"}:
        return f"{part!r}: a statistic is a part of its own{_as_in('_'.join(words[1:]), words[0])}"
    if (words[0] in {"num", "number"} and len(words) > 1) or (words[0] == "n" and len(words) == 2):
        things = "_".join(words[1:]).removeprefix("of_")
        return f"{part!r}: a number of things is named by the things{_as_in(things)}"
    if (head or is_last) and last in {"cnt", "num"}:
        return f"{part!r}: a number of things is named by the things, as in 'tokens' for 'token_cnt'"
    if last in _PERCENT or words[0] in _PERCENT:
        return f"{part!r}: shares are between 0 and 1 and need no unit, as in 'clip_fraction'"
    return None


def _as_in(*parts: str) -> str:
    return f", as in {'/'.join(parts)!r}" if all(parts) else ""


def folders_among(keys: Iterable[str]) -> dict[str, str]:
    """Keys that break the no-prefix rule: each key that is also a folder, with one key inside it.

    Example:
        >>> folders_among(["loss", "loss/max", "lr"])
        {'loss': 'loss/max'}
    """
    names = set(keys)
    return {folder: key for key in sorted(names) for folder in ancestors(key) if folder in names}
