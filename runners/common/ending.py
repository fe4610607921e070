"""The last lines on the terminal, under a run's result: what it has written, what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from runners.common.loop import resume_command, sightline

_FILES = ("metrics.jsonl", "run.json", "eval.json", "logs", "traces", "sessions", "checkpoints")


def closing(run_dir: Path, steps_setting: str, steps: int, *follow: str) -> str:
    """What the run has written, and the commands that may come next.

    Args:
        run_dir: of the run that has ended.
        steps_setting: by which its config says how many steps there are, as `"grpo.steps"`.
        steps: how many there were.
        follow: commands that come before the usual ones.
    """
    written = [str(path) for name in _FILES if (path := run_dir / name).exists()]
    longer = resume_command(run_dir, f"{steps_setting}={2 * steps}")
    commands = [*follow, _command("report", run_dir, "curves, times and samples, on one page")]
    if (run_dir / "traces").exists():
        commands += [
            _command("trace summary", run_dir, "where the time went, and who waited for whom"),
            _command("trace view", run_dir, "the timeline of all processes, in the browser"),
        ]
    commands.append(f"{longer}    # {steps} steps more")
    return f"\nWritten:\n{_indented(written)}\n\nNext:\n{_indented(commands)}\n"


def _command(name: str, run_dir: Path, what_for: str) -> str:
    return f"{shlex.join(sightline(*name.split(), str(run_dir)))}    # {what_for}"


def _indented(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
