"""What a terminal shows of text logs, and what another output."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.terminals import on_terminal
from tests.text_logging.logged import python


def talked(cwd: Path, **environment: str) -> str:
    """What a process prints on a terminal as its stderr."""
    return on_terminal([sys.executable, "-c", TALK], shown="stderr", cwd=cwd, **environment).decode()


TALK = """
import sightline as sl
with sl.start("runs", sinks=[]):
    sl.get_logger("rollout").info("one")
    sl.get_logger("trainer.data").info("two")
    sl.get_logger("rollout").warning("three")
    sl.get_logger("rollout").error("four\\nfive\\x1b[2J")
"""


def test_a_terminal_shows_components_and_levels_in_colours(tmp_path: Path) -> None:
    """Below WARNING the component's, which differ; from there the level's; no escape of a message's own."""
    lines = [line.partition(" ")[2] for line in talked(tmp_path).split("\n")]
    one, two = (re.fullmatch(r"INFO \x1b\[(\d+)m([\w.]+)\x1b\[0m: (\w+)", line) for line in lines[:2])
    assert one is not None
    assert two is not None
    assert (one[2], one[3], two[2], two[3]) == ("rollout", "one", "trainer.data", "two")
    assert one[1] != two[1]
    assert lines[2] == "\x1b[33mWARNING rollout: three\x1b[0m"
    assert lines[3].startswith("\x1b[1;31mERROR rollout: four")
    assert "\x1b[2J" not in "".join(lines)


def test_no_colours_where_none_are_wanted(tmp_path: Path) -> None:
    """NO_COLOR, a dumb terminal, and what is no terminal."""
    plain = ["INFO rollout: one", "INFO trainer.data: two", "WARNING rollout: three", "ERROR rollout: four"]
    shown = [
        talked(tmp_path, NO_COLOR="1"),
        talked(tmp_path, TERM="dumb"),
        python(TALK, tmp_path).stderr,
    ]
    for text in shown:
        lines = text.splitlines()
        assert [line.partition(" ")[2] for line in lines[:4]] == plain
        assert lines[4:] == [r"    | five\x1b[2J"]


def test_lines_and_tables_come_whole(tmp_path: Path) -> None:
    """The console sink prints beside the log, both to one pipe."""
    code = """
import sys, threading, sightline as sl
sys.stderr = sys.stdout
log = sl.get_logger("rollout")
with sl.start("runs", naming="off") as run:
    threads = [threading.Thread(target=lambda: [log.info("x" * 200) for _ in range(200)]) for _ in range(4)]
    for thread in threads: thread.start()
    for step in run.steps(50):
        sl.scalar(**{f"metric{i}": i for i in range(50)})
        run.commit(step)
    for thread in threads: thread.join()
"""
    lines = python(code, tmp_path).stdout.splitlines()
    steps = [line for line in lines if line.startswith("step=")]
    texts = [line for line in lines if re.fullmatch(r"\d\d:\d\d:\d\d INFO rollout: x{200}", line)]
    assert (len(steps), len(texts)) == (50, 800)
    assert len(lines) == 850
    assert all(line.count("=") == 51 for line in steps)
