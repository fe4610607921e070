"""Code that says in comments what the lint is to find in it: ``# expect: SL101`` at the end of a line."""

import re
import textwrap
from collections import Counter

from sightline.lint import Source, check

_EXPECT = re.compile(r"# expect: (SL\d+(?:, SL\d+)*)")


def expected(text: str) -> Counter[tuple[int, str]]:
    """How often which code is expected on which line."""
    found: Counter[tuple[int, str]] = Counter()
    for number, line in enumerate(text.split("\n"), 1):
        if marker := _EXPECT.search(line):
            found.update((number, code) for code in marker[1].split(", "))
    return found


def found(text: str, path: str = "train.py") -> Counter[tuple[int, str]]:
    """How often the lint finds which code on which line."""
    return Counter((each.line, each.code) for each in check(Source.parse(path, text.encode())))


def assert_as_marked(code: str) -> None:
    """The lint finds what is marked in a piece of code, and nothing else."""
    text = textwrap.dedent(code).strip() + "\n"
    assert found(text) == expected(text), text


def instead(code: str) -> list[str]:
    """What the lint says to write instead, for each finding in a piece of code."""
    return [each.instead for each in check(Source.parse("train.py", textwrap.dedent(code).encode()))]
