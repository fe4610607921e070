"""docs/lint.md says what the lint does."""

import re
from pathlib import Path

import pytest

from sightline.lint import RULES
from tests.lint.marked import found

PAGE = (Path(__file__).parent.parent.parent / "docs" / "lint.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (SL\d+) (\S+)\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)


def side(diff: str, sign: str) -> str:
    """One side of a diff: the lines that both have, and those with a sign."""
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (" ", sign, ""))


@pytest.mark.parametrize(("code", "name", "text"), SECTIONS, ids=[code for code, _, _ in SECTIONS])
def test_what_a_rule_shows_as_bad_is_found_and_what_it_shows_as_good_is_clean(
    code: str, name: str, text: str
) -> None:
    """The example of each section, before and after."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    before = found(side(diff, "-"))
    assert {each for _, each in before} == {code}
    assert not found(side(diff, "+"))
    assert (code, name) in [(rule.code, rule.name) for rule in RULES]


def test_every_rule_is_on_the_page() -> None:
    """With its code and its name."""
    assert all(f"{rule.code} {rule.name}" in PAGE for rule in RULES)
    assert len(SECTIONS) == sum(rule.code.startswith("SL1") for rule in RULES)
