"""Realistic training code with violations planted in it, and code that only looks like it.

The files under `code` are read, never run: whole loops, trainers and callbacks, in common styles.
"""

from pathlib import Path

import pytest

from tests.lint.marked import expected, found

CODE = Path(__file__).parent / "code"
PLANTED = sorted(CODE.glob("planted_*.py"))
LOOKALIKES = sorted(CODE.glob("lookalikes_*.py"))


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
def test_every_planted_violation_is_found_at_its_line_and_nothing_else(path: Path) -> None:
    """With the code of its rule, however it is reached."""
    text = path.read_text(encoding="utf-8")
    assert found(text, path.name) == expected(text)


@pytest.mark.parametrize("path", LOOKALIKES, ids=lambda path: path.stem)
def test_no_lookalike_is_flagged(path: Path) -> None:
    """Code that needs what it does is left alone."""
    assert not found(path.read_text(encoding="utf-8"), path.name)


def test_there_are_at_least_sixty_of_each_and_some_of_every_rule() -> None:
    """So that a file that is lost does not pass unnoticed."""
    planted = sum((expected(path.read_text(encoding="utf-8")) for path in PLANTED), expected(""))
    assert planted.total() >= 60
    lines = [line for path in LOOKALIKES for line in path.read_text(encoding="utf-8").split("\n")]
    marked = [line.rpartition("# lookalike: ")[2].split(", ") for line in lines if "# lookalike: " in line]
    assert len(marked) >= 60
    rules = ["SL101", "SL102", "SL103", "SL104", "SL105"]
    assert all(sum(code == rule for _, code in planted.elements()) >= 8 for rule in rules)
    assert all(sum(rule in codes for codes in marked) >= 8 for rule in rules)
