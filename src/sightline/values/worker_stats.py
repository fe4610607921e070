"""What the workers of a trainer have recorded, brought together by the one process that commits it.

A controller asks its workers, which are plain processes, for what they have: snapshots, their bytes, or
exported dicts. Nothing here knows how they came. Snapshots merge as their recording calls declared, dicts by
their counts, and a dict beside snapshots by what those declare.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sightline.errors import RecordError, SnapshotError
from sightline.values import naming
from sightline.values.aggregates import as_number, exact_sum
from sightline.values.exported_stats import UNWEIGHTED, Exported, is_of_one_process, merge_dicts, timing_of
from sightline.values.host_values import checked_key, to_number, to_string
from sightline.values.key_specs import BESIDE, FAMILIES, Spec
from sightline.values.snapshot import Snapshot, Value

log = logging.getLogger("sightline")

Export = Snapshot | bytes | Exported
Workers = Export | Iterable[Export | None] | None

_said: set[str] = set()


def export_stats(
    parts: Mapping[str, Workers] | Iterable[Export | None], *, wall_s: float | None = None
) -> dict[str, Value | str]:
    """Merges what workers have recorded into one dict, for ``logger.commit(step, export_stats(…))``.

    For a controller over workers that are plain processes. What each of them sends, at each step, is one of

    - a :class:`Snapshot`, or its bytes (``sl.snapshot().to_bytes()``): everything merges as it was declared
      where it was recorded, exactly;
    - an exported dict (``sl.export(reduce="local")``): as :func:`merge_stats` does it, by the ``__count`` of
      each key, and what has none is averaged and listed under ``"obs/unweighted"``. Beside snapshots
      of the same keys totals, timings, latest values and texts of dicts merge as the snapshots declare;
    - None: the worker is gone, or did not answer. ``obs/missing_exports`` counts it.

    Each is another worker's, numbered by its place (``time/rollout_s_slowest`` is such a number). A snapshot
    that is merged already takes as many numbers as it has processes. A worker that has several snapshots for
    one step merges them first.

    Args:
        parts: the workers' exports; or by name those of each part of the trainer, whose keys go under the
            name as if recorded in that scope: ``loss`` of the part ``"critic"`` becomes ``critic/loss``, its
            time ``time/critic/update_s``. A part of one worker may be its export itself; None is a part that
            this trainer does not have.
        wall_s: the step's wall time in seconds, by which rates without ``over`` are divided; without it they
            are left out, with a warning.

    Returns:
        Keys with their values, ``<key>__count`` with counts, and texts, as :meth:`StatsTracker.export` gives
        them; of histograms the counts alone. Under ``obs/``: ``missing_exports``, how many were None;
        ``unreadable_snapshots``, damaged or of another version; ``conflicts``, keys that two workers reduce
        differently, or that are folders of others; ``nonfinite`` records; ``partial_keys``; and the sums of
        what dicts had there.

    Raises:
        RecordError: something that is no export, a key or value that is none, names of parts that are no
            scopes or lie within each other. What comes damaged or not at all never raises.

    Example:
        >>> import sightline as sl
        >>> def worker(rewards):  # runs in a process of its own
        ...     tracker = sl.StatsTracker()
        ...     tracker.summary("reward", rewards, emit=("mean", "max"))
        ...     tracker.ratio("accepted", sum(r > 0 for r in rewards), len(rewards))
        ...     return tracker.snapshot().to_bytes()
        >>> stats = export_stats({"rollout": [worker([1.0, 2.0, 0.0]), worker([5.0]), None], "critic": None})
        >>> stats["rollout/reward/mean"], stats["rollout/reward__count"], stats["rollout/accepted"]
        (2.0, 4, 0.75)
        >>> stats["obs/missing_exports"]
        1
    """
    if wall_s is not None and not 0 < to_number("export_stats", "wall_s", wall_s) < math.inf:
        raise RecordError(f"export_stats(wall_s={wall_s!r}): expected seconds, more than 0, or None")
    result: dict[str, Value | str] = {}
    trouble: Counter[str] = Counter()
    unweighted: list[str] = []
    for name, exports in _named(parts).items():
        part = _Part(name, exports)
        stats, averaged = part.merge(wall_s)
        result.update({_under(name, key): value for key, value in stats.items()})
        unweighted += [_under(name, key) for key in averaged]
        trouble.update(part.trouble)
    shown = [key for key in result if not key.endswith(naming.COUNT_SUFFIX)]
    for key, other in naming.folders_among(shown).items():
        del result[key]
        trouble["conflicts"] += 1
        _say_folder(key, other)
    result |= {naming.RESERVED + name: count for name, count in trouble.items() if count}
    if unweighted:
        result[UNWEIGHTED] = ",".join(dict.fromkeys(unweighted))
    return result


class _Part:
    """The exports of one part of the trainer.

    Attributes:
        trouble: what is to be counted under ``obs/``.
    """

    def __init__(self, name: str, exports: Iterable[Any]) -> None:
        self.trouble: Counter[str] = Counter()
        self._snapshots: list[Snapshot] = []
        self._dicts: list[tuple[int, dict[str, Value | str]]] = []  # each with its worker's number
        number = 0
        for place, export in enumerate(exports):
            worker = f"worker {place}" + (f" of {name!r}" if name else "")
            taken = self._read(worker, export)
            if isinstance(taken, Snapshot):
                self._snapshots.append(taken.numbered_from(number))
                number += len(taken.processes)
                continue
            if taken is not None:
                self._dicts.append((number, self._dict(worker, number, taken)))
            number += 1

    def _read(self, worker: str, export: Any) -> Snapshot | Exported | None:
        if isinstance(export, (bytes, bytearray, memoryview)):
            try:
                return Snapshot.from_bytes(bytes(export))
            except SnapshotError as error:
                self.trouble["unreadable_snapshots"] += 1
                _say(f"unreadable {worker}", f"what {worker} sent cannot be read: {error}")
                return None
        if export is None:
            self.trouble["missing_exports"] += 1
            return None
        if isinstance(export, (Snapshot, Mapping)):
            return export
        raise RecordError(
            f"export_stats: {worker} is {_shown(export)}; expected a Snapshot, its bytes, an exported dict, "
            f"or None for a worker that is missing"
        )

    def _dict(self, worker: str, number: int, stats: Exported) -> dict[str, Value | str]:
        """An exported dict, checked; its times are this worker's, and what went wrong is counted."""
        checked: dict[str, Value | str] = {}
        try:
            for key, value in stats.items():
                checked_key(key.removesuffix(naming.COUNT_SUFFIX) if isinstance(key, str) else key)
                is_count = key.endswith(naming.COUNT_SUFFIX) or _is_trouble(key)
                checked[key] = _count(key, value) if is_count else _value(key, value)
        except RecordError as error:
            raise RecordError(f"export_stats: {worker}: {error}") from None
        for key in filter(_is_trouble, list(checked)):
            self.trouble[key.removeprefix(naming.RESERVED)] += int(checked.pop(key))
        for key in checked:
            timing = timing_of(key, checked)
            if timing is not None and key.endswith("_slowest") and is_of_one_process(timing, checked):
                checked[key] = number
        return checked

    def merge(self, wall_s: float | None) -> tuple[dict[str, Value | str], list[str]]:
        """Names and numbers of all workers, and the keys that could only be averaged."""
        dicts = [stats for _, stats in self._dicts]
        if not self._snapshots:
            return merge_dicts(dicts)
        snapshot = Snapshot.merge(self._snapshots)
        rendered = snapshot.render(wall_s=wall_s)
        self._note_trouble(snapshot, rendered.nonfinite, rendered.hidden, wall_s)
        stats: dict[str, Value | str] = {**rendered.values, **rendered.counts, **rendered.texts}
        if not dicts:
            return stats, []
        declared: dict[str, Value | str] = {}
        left_out: set[str] = set()
        inexact: list[str] = []
        for family in FAMILIES:
            owners = snapshot.owners_of(family).tolist() if family != "timings" else itertools.repeat(0)
            for spec, owner in zip(snapshot.specs(family), owners, strict=False):
                if spec.kind == "timing":
                    row = dict(zip(rendered.processes, rendered.per_process[spec.key], strict=True))
                    declared |= self._merged_timing(spec.key, row, inexact)
                elif spec.kind in BESIDE:
                    continue
                elif spec.replicated or spec.kind in ("last", "text"):
                    declared |= self._of_lowest(spec, owner, stats)
                elif spec.kind == "rate" and spec.key not in stats:
                    left_out.add(spec.key)  # those of the dicts alone would be a part of it
                elif spec.kind in ("total", "rate"):
                    declared |= self._sum(spec, stats, inexact)
        settled = declared.keys() | left_out
        rest, averaged = merge_dicts(
            [{key: value for key, value in each.items() if key not in settled} for each in (stats, *dicts)]
        )
        return {**rest, **declared}, [*inexact, *averaged]

    def _sum(self, spec: Spec, stats: Exported, inexact: list[str]) -> dict[str, Value | str]:
        """A total over all workers; a rate, too, though the dicts divide by times of their own."""
        found = [each[spec.key] for each in (stats, *(each for _, each in self._dicts)) if spec.key in each]
        amounts = [amount for amount in found if not isinstance(amount, str)]
        if len(amounts) < len(found) or not found:
            return {}
        if spec.kind == "rate" and len(found) > 1:
            inexact.append(spec.key)
        return {spec.key: as_number(*exact_sum(amounts))}

    def _of_lowest(self, spec: Spec, owner: int, stats: Exported) -> dict[str, Value | str]:
        """What the lowest worker that has the key says of it."""
        names = [*spec.exported(), spec.key + naming.COUNT_SUFFIX]
        candidates = [(owner, stats), *self._dicts]
        having = [(number, each) for number, each in candidates if any(name in each for name in names)]
        if not having:
            return {}
        lowest = min(having, key=lambda candidate: candidate[0])[1]
        return {name: lowest[name] for name in names if name in lowest}

    def _merged_timing(self, key: str, row: dict[int, float], inexact: list[str]) -> dict[str, Value | str]:
        """The timing of all workers that have it: of each process of the snapshots, and of each dict."""
        names = (key, f"{key}_max", f"{key}_slowest")
        times = [(seconds, seconds, process) for process, seconds in row.items() if not math.isnan(seconds)]
        for _, stats in self._dicts:
            if timing_of(key, stats) == key:
                mean, most, slowest = (stats[name] for name in names)
                times.append((float(mean), float(most), int(slowest)))
                if mean != most:  # of several processes
                    inexact.append(key)
        if not times:
            return {}
        _, most, slowest = max(times, key=lambda time: (time[1], -time[2]))
        return dict(zip(names, (sum(time[0] for time in times) / len(times), most, slowest), strict=True))

    def _note_trouble(
        self, snapshot: Snapshot, nonfinite: int, hidden: Mapping[str, str], wall_s: float | None
    ) -> None:
        self.trouble["nonfinite"] += nonfinite
        self.trouble["conflicts"] += len(snapshot.conflicts) + len(hidden)
        self.trouble["partial_keys"] += len(snapshot.partial())
        for conflict in snapshot.conflicts:
            _say(f"conflict {conflict.kept.key}", str(conflict))
        for key, other in hidden.items():
            _say_folder(key, other)
        for spec in snapshot.specs("sums"):
            if spec.kind == "rate" and not spec.over and wall_s is None:
                _say(
                    f"rate {spec.key}",
                    f"{spec.key!r} ({spec.site}) is left out: it is an amount by the step's wall time; give "
                    f"that, as in export_stats(…, wall_s=2.5)",
                )


def _is_trouble(key: str) -> bool:
    """Whether a key of a dict counts something that went wrong."""
    return key.startswith(naming.RESERVED) and key != UNWEIGHTED


def _named(parts: Any) -> dict[str, Iterable[Any]]:
    """The exports of each part by its name; without names those of the one part ``""``."""
    if isinstance(parts, Mapping):
        for name in parts:
            checked_key(name)
            first = name.partition("/")[0]
            if first in (*naming.LEADING, naming.RESERVED[:-1]):
                raise RecordError(
                    f"export_stats: a part named {name!r} would mix with keys of sightline's own"
                )
        for folder, inside in naming.folders_among(parts).items():
            raise RecordError(
                f"export_stats: part {inside!r} lies within part {folder!r}, and their keys would mix; name "
                f"them side by side, as in 'rollout' and 'eval_rollout'"
            )
        return {name: _workers(name, part) for name, part in parts.items()}
    if isinstance(parts, (Snapshot, bytes, bytearray, memoryview)):
        return {"": [parts]}
    if isinstance(parts, str) or not isinstance(parts, Iterable):
        raise RecordError(
            f"export_stats({_shown(parts)}): expected the workers' exports, or a dict of them by part: "
            f'{{"actor": [snapshot, snapshot], "critic": [snapshot]}}'
        )
    return {"": parts}


def _workers(name: str, part: Any) -> Iterable[Any]:
    if part is None:
        return ()
    if isinstance(part, (Snapshot, bytes, bytearray, memoryview, Mapping)):
        return (part,)
    if isinstance(part, str) or not isinstance(part, Iterable):
        raise RecordError(
            f"export_stats: part {name!r} is {_shown(part)}; expected the exports of its workers. Exported "
            f"dicts without parts go in a list: export_stats([stats, stats])"
        )
    return part


def _value(key: str, value: object) -> Value | str:
    if isinstance(value, str):
        return to_string("export_stats", key, value)
    return math.nan if value is None else to_number("export_stats", key, value)  # JSON has null for NaN


def _count(key: str, value: object) -> int:
    number = to_number("export_stats", key, value)
    if number < 0 or number != number // 1:
        raise RecordError(f"{key!r} is {value!r}; expected a whole number, since it is a count")
    return int(number)


def _under(name: str, key: str) -> str:
    return naming.under(name, key) if name else key


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) < 60 else text[:57] + '...'} ({type(value).__name__})"


def _say_folder(key: str, other: str) -> None:
    _say(f"folder {key}", f"{key!r} is left out, since {other!r} makes it a folder")


def _say(about: str, message: str) -> None:
    """A warning, once in a process: a controller merges the same keys of the same workers at every step."""
    if about not in _said:
        _said.add(about)
        log.warning("sightline: export_stats: %s (said once)", message)
