"""`sightline doctor`: what is wrong here, or with a run, and the command that mends it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sightline.cli.frame import end, refuse, say_next
from sightline.cli.next_steps import next_steps, possible
from sightline.support.foreign_text import quoted
from sightline.support.wording import counted, files_missing

if TYPE_CHECKING:
    from sightline.doctor.a_run import ARun
    from sightline.doctor.findings import Finding


_NEXT_S = 2.0  # to look at the run again


@click.command(short_help="What is wrong with this machine or a run, and what mends it?")
@click.argument("run_dir", required=False, type=click.Path(path_type=Path))
@click.option(
    "--log-dir",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="Whose disk is tried, where no RUN_DIR is given.",
)
@click.option("--online", is_flag=True, help="Ask the servers of sinks too; else the network is left alone.")
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long each check may take.",
)
def doctor(run_dir: Path | None, log_dir: Path, online: bool, as_json: bool, timeout: float) -> None:
    """Say what is wrong here, or with a run, and the command that mends it.

    Without RUN_DIR: the installation, the environment and the disk. With it: the run's state, its journal,
    processes, sinks, clocks and files. Nothing is changed; of the disk a small piece is written and deleted.

    \b
      sightline doctor
      sightline doctor runs/latest
      sightline doctor runs/latest --json

    Marks: ✓ all is well; ! worth knowing; ✗ does not work, or something is lost; - not there, or not asked.
    Exit code 0: nothing is wrong (✗); 1: something is; 2: it could not be looked at; with --json 3: nothing
    is wrong here, but files of some processes are on other hosts, which `missing` names.
    """
    if run_dir is not None:
        refuse("of a run its own disk is looked at: leave it out, or RUN_DIR", "log_dir")
    found, absent = _here(log_dir, online, timeout) if run_dir is None else _run(run_dir, online, timeout)
    levels: Counter[str] = Counter(each.level for each in found)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "run": None if run_dir is None else str(run_dir),
                    "problems": levels["wrong"],
                    "notes": levels["note"],
                    "missing": absent,
                    "findings": [each.plain() for each in found],
                },
                indent=2,
                default=str,
            )
        )
    else:
        _show(found, levels)
        say_next(*_next(found, run_dir))
    end(levels["wrong"], absent, as_json=as_json)


def _here(log_dir: Path, online: bool, timeout: float) -> tuple[list[Finding], list[str]]:
    from sightline.doctor.asking import server_checks
    from sightline.doctor.disk import disk_checks
    from sightline.doctor.environment import environment_checks
    from sightline.doctor.findings import findings_of
    from sightline.doctor.installation import jax_check, machine_checks, packages_check

    found = findings_of(
        [
            ("python", machine_checks),
            ("packages", lambda: packages_check(timeout)),
            ("jax store", lambda: jax_check(timeout)),
            ("environment", environment_checks),
            ("disk", lambda: disk_checks(log_dir)),
            ("servers", lambda: server_checks({}, online=online, timeout=min(5.0, timeout))),
        ],
        timeout,
    )
    return found, []


def _run(run_dir: Path, online: bool, timeout: float) -> tuple[list[Finding], list[str]]:
    from sightline.doctor.a_run import ARun
    from sightline.doctor.asking import server_checks
    from sightline.doctor.bounded import Late, within
    from sightline.doctor.findings import Finding, findings_of

    try:
        run = within(timeout, lambda: ARun(run_dir))
    except Late:
        return [
            Finding(
                "state",
                "wrong",
                f"{run_dir} does not answer within {timeout:g} s",
                "its disk hangs",
                "df, dmesg",
            )
        ], []
    checks = run.checks()
    if online:
        checks.append(
            ("servers", lambda: server_checks(_settings(run), online=True, timeout=min(5.0, timeout)))
        )
    found = findings_of(checks, timeout)
    if any(each.check == "files" and each.level == "note" for each in found):
        return found, files_missing(run_dir, run.expected, run.absent)
    return found, []


def _settings(run: ARun) -> Mapping[str, Any]:
    section = run.facts.get("sightline")
    return section if isinstance(section, dict) else {}


def _show(found: list[Finding], levels: Mapping[str, int]) -> None:
    from sightline.cli.checks import Sheet, widest

    sheet = Sheet(widest([each.check for each in found]))
    for each in found:
        sheet.line(each.level, each.check, each.what, each.why, each.fix)
    problems, notes = levels["wrong"], levels["note"]
    sheet.say(
        "nothing is wrong"
        if not problems and not notes
        else f"{counted(problems, 'problem')}, {notes} worth knowing"
    )


def _next(found: list[Finding], run_dir: Path | None) -> list[str]:
    fixes = [
        each.fix for each in found if each.level in ("wrong", "note") and each.fix.startswith("sightline ")
    ]
    fixes = list(dict.fromkeys(fixes))
    if run_dir is None:
        return fixes[:3] or ["sightline selftest  # tries all of it"]
    from sightline.doctor.bounded import Late, within

    try:
        return within(
            _NEXT_S, lambda: possible(fixes, [run_dir], most=3) or next_steps(run_dir, but="doctor")
        )
    except Late:  # its disk hangs, as has been said
        return [f"sightline ls {quoted(run_dir.parent)}  # the runs that are here"]
