"""``python -m benchmarks [NAME …]``: the table."""

from __future__ import annotations

import importlib
import sys
import traceback

from rich.console import Console
from rich.table import Table

from benchmarks.pairs import Figure

GROUPS = (
    "importing",
    "recording",
    "logging",
    "tracing",
    "devices",
    "merging",
    "timeline",
    "committing",
    "sinks",
    "stalling",
    "reporting",
    "grpo",
)


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        raise SystemExit(f"unknown benchmark {unknown[0]!r}; expected some of {', '.join(GROUPS)}")
    table = Table("what", "median", "middle half", "bar", "", "note", title="sightline, measured in pairs")
    failed, above = [], []
    for name in names or GROUPS:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            for each in importlib.import_module(f"benchmarks.{name}").figures():
                table.add_row(*_row(each))
                if each.is_above:
                    above.append(each.what.strip())
        except Exception:  # noqa: BLE001 - the figures of the others took minutes
            traceback.print_exc()
            failed.append(name)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    said = [f"failed: {', '.join(failed)}; see above"] if failed else []
    said += [f"above its bar: {what}" for what in above]
    if said:
        raise SystemExit("\n".join(said))


def _row(f: Figure) -> tuple[str, ...]:
    def show(value: float) -> str:
        return f"{value:.3g}{f.unit}"

    bar = "" if f.bar is None else f"≤ {show(f.bar)}"
    if f.is_left_out:
        return f.what, "–", "", bar, "", f.note
    verdict = "" if f.bar is None else "[red]above[/]" if f.is_above else "[green]✓[/]"
    return f.what, show(f.middle), f"{show(f.low)} – {show(f.high)}", bar, verdict, f.note


if __name__ == "__main__":
    main(sys.argv[1:])
