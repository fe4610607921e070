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
