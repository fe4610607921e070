"""Every count has a meaning and a fix."""

import re
from pathlib import Path

import pytest

from sightline.doctor.counters import MEANINGS

PACKAGE = Path(__file__).parents[2] / "src" / "sightline"
COUNTED = re.compile(
    r'(?:_notes|trouble|obs)\["(\w+)"\] \+= |Counter\((\w+)=|note = "(\w+)" if|else "(dropped_\w+)"$|'
    r'RESERVED\}(\w+)"\]|RESERVED \+ "(\w+)"|\("(session_\w+|dropped_\w+)", |"(missing_\w+)": len',
    re.MULTILINE,
)


def counted() -> set[str]:
    names = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ("compat", "lint", "doctor", "timeline"):
            names |= {next(filter(None, found)) for found in COUNTED.findall(path.read_text())}
    return names


def test_what_is_counted_anywhere_has_a_meaning() -> None:
    assert counted() >= {
        "conflicts",
        "late_snapshots",
        "merged_commits",
        "dropped_sessions",
        "transport_down",
    }
    assert counted() - set(MEANINGS) == set()


@pytest.mark.parametrize("name", MEANINGS)
def test_a_meaning_is_whole(name: str) -> None:
    meaning = MEANINGS[name]
    assert meaning.what
    assert meaning.why
    assert meaning.fix.format(run="runs/latest")
