"""Which columns of several snapshots are of one key, and whose reduction counts where they do not agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from sightline.values.key_specs import FAMILIES, FAMILY_OF, Conflict, Schema, Spec

_NO_COLUMNS = np.zeros(0, np.intp)


class Part(Protocol):
    """What is asked of a snapshot: see :class:`sightline.snapshot.Snapshot`."""

    processes: tuple[int, ...]
    schema: Schema
    conflicts: list[Conflict]

    def owners_of(self, family: str) -> npt.NDArray[np.int32]: ...


P = TypeVar("P", bound=Part)


class Columns(Generic[P]):
    """The keys of several snapshots put together, and where each snapshot's columns go."""

    def __init__(self, parts: Sequence[P]) -> None:
        self.parts = parts
        self.conflicts = [conflict for part in parts for conflict in part.conflicts]
        chosen: dict[str, Spec] = {}
        disputed: set[str] = set()
        # In the order of processes, so that the result has the same order however the parts were given. The
        # decoder gives equal schemas as one object, so there are few to look at.
        by_process = sorted(parts, key=lambda part: part.processes[0])
        schemas = {id(part.schema): part.schema for part in by_process}.values()
        for schema in schemas:
            for specs in schema.values():
                for spec in specs:
                    name = spec.column
                    if chosen.setdefault(name, spec).reduction != spec.reduction:
                        disputed.add(name)
        if disputed:
            self._settle(chosen, disputed, by_process)
        columns: dict[str, list[Spec]] = {family: [] for family in FAMILIES}
        place: dict[str, int] = {}
        for name, spec in chosen.items():
            family = columns[FAMILY_OF[spec.kind]]
            place[name] = len(family)
            family.append(spec)
        self.schema: Schema = {family: tuple(specs) for family, specs in columns.items()}

        def position(spec: Spec) -> int:
            name = spec.column
            return place[name] if chosen[name].reduction == spec.reduction else -1

        self._positions = {
            id(schema): {
                family: np.array(list(map(position, specs)), np.intp) for family, specs in schema.items()
            }
            for schema in schemas
        }

    def _settle(self, chosen: dict[str, Spec], disputed: set[str], by_process: Sequence[P]) -> None:
        """For each disputed name the spec of the lowest process, and the conflicts with it."""
        claims: dict[str, list[tuple[int, Spec]]] = {name: [] for name in sorted(disputed)}
        for part in by_process:
            for family, specs in part.schema.items():
                owners = part.owners_of(family) if family != "timings" else None
                for i, spec in enumerate(specs):
                    if spec.column in disputed:
                        owner = part.processes[0] if owners is None else int(owners[i])
                        claims[spec.column].append((owner, spec))
        for name, claimed in claims.items():
            claimed.sort(key=lambda claim: claim[0])
            lowest, kept = claimed[0]
            chosen[name] = kept
            losers = {
                spec.reduction: (p, spec) for p, spec in reversed(claimed) if spec.reduction != kept.reduction
            }
            self.conflicts += [Conflict(kept, spec, lowest, process) for process, spec in losers.values()]

    def positions(self, part: P, family: str) -> npt.NDArray[np.intp]:
        """For each column of the part its column in the union, or −1 where it lost a conflict."""
        return self._positions[id(part.schema)].get(family, _NO_COLUMNS)


class Entries:
    """All columns of one family of all parts in a row, ordered by key, and within a key as the parts are."""

    def __init__(self, union: Columns[Any], family: str) -> None:
        ids = np.concatenate([union.positions(part, family) for part in union.parts])
        by_key = ids.astype(np.int16) if ids.max() < 2**15 else ids  # 16 bits: radix sort
        order = np.argsort(by_key, kind="stable")
        self.order = order[np.searchsorted(by_key[order], 0) :]  # without the losers of conflicts
        self.ids = ids[self.order]
        specs = union.schema[family]
        self.starts = np.searchsorted(self.ids, np.arange(len(specs)))
        owner = np.concatenate([part.owners_of(family) for part in union.parts])[self.order]
        self.owners: npt.NDArray[np.int32] = np.minimum.reduceat(owner, self.starts)
        self.of_owner = owner == self.owners[self.ids]
        self._replicated = np.array([spec.replicated for spec in specs], bool)

    def replicated_elsewhere(self) -> npt.NDArray[np.intp]:
        """Entries that repeat, on another process, a value already counted on the lowest one."""
        if not self._replicated.any():
            return _NO_COLUMNS
        return np.flatnonzero(self._replicated[self.ids] & ~self.of_owner)

    def latest_of_owner(self) -> npt.NDArray[np.intp]:
        """For each key the last entry of the lowest process that recorded it."""
        index = np.where(self.of_owner, np.arange(self.ids.size), -1)
        return np.maximum.reduceat(index, self.starts)
