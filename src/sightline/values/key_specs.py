"""What is recorded under a key: which reduction, with which options; and such schemas as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

# Which columns hold a kind.
FAMILY_OF = {
    "scalar": "moments",
    "summary": "moments",
    "total": "sums",
    "ratio": "sums",
    "rate": "sums",
    "last": "lasts",
    "timing": "timings",
    "per_process": "timings",
    "covered": "timings",
    "expected": "timings",
    "text": "texts",
}
# Kinds that are kept beside a key, not shown as one: each process's own mean, and of global arrays how many
# elements the process has reduced and how many there are.
BESIDE = ("per_process", "covered", "expected")
FAMILIES = ("moments", "sums", "lasts", "timings", "texts")

EMITS = ("mean", "std", "min", "max", "sum", "count")
_OPTIONS = ("emit", "quantiles", "over", "replicated", "bins")  # of a Spec


class Spec(NamedTuple):
    """What is recorded under a key: the reduction, its options, and where it was first recorded."""

    key: str
    kind: str
    file: str = ""
    line: int = 0
    emit: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    over: str = ""
    replicated: bool = False
    bins: int = 0

    @property
    def site(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def sketched(self) -> bool:
        """Whether a sketch is kept beside the moments."""
        return bool(self.quantiles or self.bins)

    @property
    def reduction(self) -> tuple[str, bool, str, bool]:
        """What two processes must agree on, if what they recorded under one key is to be merged."""
        return (self.kind, self.sketched, self.over, self.replicated)

    @property
    def call(self) -> str:
        """The recording call that makes it: a histogram is a summary that is shown as bins."""
        return "histogram" if self.bins else self.kind

    @property
    def described(self) -> str:
        """The reduction as a person would write it: ``summary(quantiles=(0.5,))``."""
        options = zip(_OPTIONS, self[4:], strict=True)
        given = ", ".join(f"{name}={value!r}" for name, value in options if value)
        return f"{self.call}({given})" if given else self.call

    @property
    def column(self) -> str:
        """The name of its column, which no other one of a snapshot has."""
        return f"{self.key}\0{self.kind}\0{self.over}" if self.kind in BESIDE else self.key

    def exported(self) -> list[str]:
        """The names under which a snapshot is rendered with this key (counts aside)."""
        match self.kind:
            case "summary" if not self.bins:
                return [f"{self.key}/{name}" for name in (*self.emit, *map(quantile_name, self.quantiles))]
            case "timing":
                return [self.key, f"{self.key}_max", f"{self.key}_slowest"]
            case _ if self.kind in BESIDE:
                return []
        return [self.key]


def quantile_name(q: float) -> str:
    """``0.5`` → ``p50``, ``0.999`` → ``p99.9``."""
    return f"p{100 * q:.10g}"


Schema = dict[str, tuple[Spec, ...]]


class Conflict(NamedTuple):
    """One key with two reductions: the lowest process's wins."""

    kept: Spec
    dropped: Spec
    kept_process: int
    dropped_process: int

    def __str__(self) -> str:
        kept, dropped = self.kept, self.dropped
        return (
            f"{kept.key!r} is a {kept.described} on process {self.kept_process} ({kept.site}) and a "
            f"{dropped.described} on process {self.dropped_process} ({dropped.site}); the latter is left out"
        )


@lru_cache(maxsize=256)
def encode_schema(families: tuple[tuple[Spec, ...], ...]) -> bytes:
    """As JSON; kept, since schemas are the same from step to step."""
    import orjson  # late: a seventh of what importing sightline takes

    files: dict[str, int] = {}
    schema: dict[str, object] = {}
    for family, specs in zip(FAMILIES, families, strict=True):
        rows = []
        for key, kind, file, line, *values in specs:
            options = {name: value for name, value in zip(_OPTIONS, values, strict=True) if value}
            row = [key, kind, files.setdefault(file, len(files)), line]
            rows.append([*row, options] if options else row)
        schema[family] = rows
    return orjson.dumps({"files": list(files), **schema})


@lru_cache(maxsize=2048)
def decode_schema(data: bytes) -> Schema:
    """Of :func:`encode_schema`; equal bytes give one object."""
    import orjson

    raw = orjson.loads(data)
    files = raw["files"]
    return {family: tuple(_decode_spec(row, files) for row in raw[family]) for family in FAMILIES}


def _decode_spec(row: Sequence[Any], files: Sequence[str]) -> Spec:
    key, kind, file, line, *rest = row
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for given in rest
        for name, value in given.items()
    }
    return Spec(key, kind, files[file], line, **options)
