"""Findings as people, programs and GitHub read them."""

import json

from sightline.lint import Failure, Finding, Report
from sightline.lint.output import as_json, github, human

FINDING = Finding(
    "src/train.py", 7, 5, "SL101", "sink-call", "Why: 100 %.", "sl.scalar(loss=loss)\nrun.commit(step)"
)
NOTE = Finding("src/train.py", 9, 1, "SL002", "unused-allow", "Nothing.", "(nothing)", note=True)
FAILURE = Failure("old,v2.py", 3, "is no Python: expected ':'")


def test_people_get_place_code_reason_and_call() -> None:
    """Files apart from each other, and at the end how many there are."""
    other = Finding("a.py", 1, 1, "SL103", "blocking-read", "Because.", "sl.scalar(x=x)")
    lines = list(human(Report([other, FINDING, NOTE], [FAILURE], 2)))
    assert lines == [
        "a.py:1:1: SL103 blocking-read",
        "    Because.",
        "    instead:  sl.scalar(x=x)",
        "",
        "src/train.py:7:5: SL101 sink-call",
        "    Why: 100 %.",
        "    instead:  sl.scalar(loss=loss)",
        "              run.commit(step)",
        "src/train.py:9:1: SL002 unused-allow",
        "    Nothing.",
        "    instead:  (nothing)",
        "",
        "old,v2.py:3: error: is no Python: expected ':'",
        "2 files checked, 2 findings in 2 files, 1 note, 1 file could not be checked.",
    ]


def test_a_clean_check_says_so() -> None:
    """In one line."""
    assert list(human(Report(files=1))) == ["1 file checked, nothing found."]


def test_json_has_everything() -> None:
    """Each finding with all its fields, failures, and how many files."""
    report = json.loads(as_json(Report([FINDING, NOTE], [FAILURE], 2)))
    assert report["files"] == 2
    assert report["findings"][0] == {
        "path": "src/train.py", "line": 7, "column": 5, "code": "SL101", "name": "sink-call",
        "why": "Why: 100 %.", "instead": "sl.scalar(loss=loss)\nrun.commit(step)", "note": False,
    }  # fmt: skip
    assert report["findings"][1]["note"] is True
    assert report["failures"] == [{"path": "old,v2.py", "line": 3, "message": "is no Python: expected ':'"}]


def test_github_annotations_are_escaped() -> None:
    """Per cent, ends of lines, and in properties colons and commas."""
    assert list(github(Report([FINDING, NOTE], [FAILURE], 2))) == [
        "::error file=src/train.py,line=7,col=5,title=SL101 sink-call::"
        "Why: 100 %25.%0AInstead: sl.scalar(loss=loss)%0Arun.commit(step)",
        "::notice file=src/train.py,line=9,col=1,title=SL002 unused-allow::Nothing.%0AInstead: (nothing)",
        "::error file=old%2Cv2.py,line=3,title=sightline lint::is no Python: expected ':'",
    ]
    windows = Finding("c:/a%b.py", 1, 1, "SL101", "sink-call", "a\r\nb", "c")
    assert list(github(Report([windows], [], 1))) == [
        "::error file=c%3A/a%25b.py,line=1,col=1,title=SL101 sink-call::a%0D%0Ab%0AInstead: c"
    ]


def test_notes_fail_nothing_and_failures_do() -> None:
    """0 clean, 1 findings, 2 what could not be checked."""
    assert Report().exit_code == Report([NOTE]).exit_code == 0
    assert Report([FINDING, NOTE]).exit_code == 1
    assert Report([FINDING], [FAILURE]).exit_code == 2


def test_nothing_in_code_or_in_a_files_name_acts_on_a_terminal() -> None:
    """Neither on that of people, nor on GitHub's; and JSON can be written and read with any name."""
    hostile = "a\x1b[2J\udcff\u202e"
    finding = Finding(f"{hostile}\n.py", 1, 1, "SL101", "sink-call", hostile, f"sl.scalar({hostile})\nb\x0cc")
    report = Report([finding], [Failure(f"{hostile}.py", 1, hostile)], 1)
    for line in [*human(report), *github(report)]:
        assert line.isprintable(), line
    written = as_json(report).encode("ascii")
    assert json.loads(written)["findings"][0]["path"] == finding.path
