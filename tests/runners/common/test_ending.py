"""The last lines on the terminal."""

from __future__ import annotations

from pathlib import Path

from runners.common.ending import closing


def test_what_is_there_is_listed_and_what_comes_next_can_be_pasted(tmp_path: Path) -> None:
    """Files that were not written are left out; a command of the runner's own comes first."""
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "logs").mkdir()
    written, following = closing(tmp_path, "sft.steps", 30, "python -m next").split("\nNext:\n")
    assert written == f"\nWritten:\n  {tmp_path}/metrics.jsonl\n  {tmp_path}/logs\n"
    first, journal, again = following.splitlines()
    assert first == "  python -m next"
    assert f"sightline report {tmp_path}" in journal
    settings = f"--set output.name={tmp_path.name} --set output.resume=must --set sft.steps=60"
    assert again.endswith(f"{settings}    # 30 steps more")


def test_what_a_traced_run_has_can_be_looked_at(tmp_path: Path) -> None:
    for name in ("traces", "sessions"):
        (tmp_path / name).mkdir()
    written, following = closing(tmp_path, "grpo.steps", 30).split("\nNext:\n")
    assert written == f"\nWritten:\n  {tmp_path}/traces\n  {tmp_path}/sessions\n"
    report, summary, view, _ = following.splitlines()
    assert f"sightline report {tmp_path}" in report
    assert f"sightline trace summary {tmp_path}    #" in summary
    assert f"sightline trace view {tmp_path}    #" in view
