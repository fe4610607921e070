"""Pages of any size, of any run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from sightline.watching.cells import PLAIN, in_ascii
from sightline.watching.drawing import Panel, View, page
from sightline.watching.layout import Wish, rows_for
from sightline.watching.live import Watch
from tests.watching.journals import (
    HOSTILE,
    commit,
    facts,
    line,
    logged,
    process_values,
    rich_run,
    run_line,
    shown,
    steps_event,
    warning,
    written,
)

WISHES = st.lists(
    st.builds(lambda rank, least, more: Wish(rank, least, least + more), st.integers(0, 9), st.integers(1, 9),
              st.integers(0, 20))
)  # fmt: skip


@given(WISHES, st.integers(0, 80))
def test_panels_share_the_height_by_rank(wishes: list[Wish], height: int) -> None:
    """Nobody gets less than is of use or more than is wanted, and all that can be used is used."""
    given_rows = rows_for(wishes, height)
    assert sum(given_rows) <= height
    assert all(
        rows == 0 or wish.least <= rows <= wish.wanted for rows, wish in zip(given_rows, wishes, strict=True)
    )
    if sum(wish.wanted for wish in wishes) <= height:
        assert given_rows == [wish.wanted for wish in wishes]


def test_a_narrow_page_has_one_column_and_a_wide_one_two(tmp_path: Path) -> None:
    run = rich_run(tmp_path / "run")
    narrow, wide = shown(run, 80), shown(run, 200)
    for page_ in (narrow, wide):
        for part in ("grpo", "crashed", "step 59 of 199", "train/loss", "rollout", "process 13 in rollout",
                     "sink wandb is 59 commits behind", "no container", "memory/used_bytes", "97 %", "best",
                     "2 + 2?", "x⏎⏎y", "16 processes"):  # fmt: skip
            assert part in page_, part
    assert any(row.startswith("metrics ") and "trouble ──" in row for row in wide.splitlines())
    assert not any(row.startswith("metrics ") and "trouble" in row for row in narrow.splitlines())


def test_a_title_keeps_its_note_where_there_is_no_room_for_what_is_below() -> None:
    lines = [Text(str(at)) for at in range(5)]
    panel = Panel("a step's time", "4 s a step; goodput of the run 50 %", lines, rank=0)
    assert panel.drawn(3, 80, PLAIN)[0].plain.endswith("goodput of the run 50 %, 3 more below")
    assert panel.drawn(3, 56, PLAIN)[0].plain.endswith("goodput of the run 50 %")


@pytest.mark.parametrize("width", [20, 40, 80, 139, 140, 200, 400])
def test_a_page_fits_any_terminal(tmp_path: Path, width: int) -> None:
    """What is most important stays when there is little room."""
    run = Watch(rich_run(tmp_path / "run"))
    for height in (1, 4, 10, 15, 24, 50, 100):
        text = shown(run, width, height)
        assert text.startswith("grpo")
        if height >= 15 and width >= 40:
            assert "train/reward/total/mean"[-10:] in text
        if height >= 24 and width >= 80:
            assert "sink wandb is 59 commits behind" in text


def test_what_an_exception_says_has_rows_of_its_own_where_a_line_is_too_short(tmp_path: Path) -> None:
    run = written(tmp_path / "run", run_line(), commit(0, {"train/loss": 1.0}))
    error = f"ValueError: {'a longer text ' * 20}"
    failed = {**warning(1001.0, "rollout 7 failed", level="ERROR"), "exception": error}
    logged(run, 0, failed, {**failed, "message": "short", "exception": "KeyError: 'k'"})
    rows = shown(run, 80).splitlines()
    (at,) = [at for at, row in enumerate(rows) if row.endswith("rollout: rollout 7 failed")]
    assert rows[at + 1].startswith("    ValueError: a longer text")
    assert rows[at + 2].startswith("    ")
    assert rows[at + 2].endswith("…")
    assert sum("a longer text" in row for row in rows) == 2
    assert any(row.endswith("short · KeyError: 'k'") for row in rows)


def test_errors_stand_before_warnings_and_one_line_of_them_stays(tmp_path: Path) -> None:
    """However many warnings came after them, and however small the terminal is; so it is with sinks."""
    run = rich_run(tmp_path / "run")
    logged(run, 0, *(warning(2000.0 + n, of) for n, of in enumerate("abcdefghijklmnopq")))
    tall = shown(run, 80).splitlines()
    (at,) = [at for at, row in enumerate(tall) if row.startswith("warnings and errors")]
    assert tall[at].endswith("1 error, 18 warnings, of 1 of 16 processes, 7 more below")
    assert "no container" in tall[at + 1]
    assert tall[at + 2].endswith("rollout: q")
    for height in (16, 20, 24):
        rows = shown(run, 80, height).splitlines()
        (said,) = [row for row in rows if row.startswith("1 error, 18 warnings; last: ")]
        assert "no container" in said
        assert any("wandb  59 behind" in row for row in rows), rows
        assert any("train/reward/total/mean"[-10:] in row for row in rows)


def test_what_has_no_room_is_counted(tmp_path: Path) -> None:
    lines = [commit(step, {f"train/k{n:02d}": 1.0 for n in range(12)}) for step in range(3)]
    run = written(tmp_path / "run", run_line(), *lines)
    assert "5 more below" in shown(run, 80, 14)
    watched = Watch(run)
    view = View(offset=9)
    lines_ = page(watched.facts(view, rows=13), 80, 14, view=view, glyphs=PLAIN, now=1.0)
    assert [each.plain.split()[0] for each in lines_[7:]] == ["train/k09", "train/k10", "train/k11"]
    assert [metric.key for metric in watched.facts(rows=2).metrics] == ["train/k00", "train/k01"]


@pytest.mark.parametrize("width", [80, 200])
def test_why_a_run_ended_is_shown_whole(tmp_path: Path, width: int) -> None:
    """Below the pace, wrapped; of a long one four rows, where a terminal has few."""
    why = "ValueError: " + " ".join(f"shard{n:03d}" for n in range(60))
    lines = [
        run_line(), commit(0, {"train/loss": 1.0}), commit(1, {"train/loss": 1.0}),
        line(type="event", event="failed", error=why, attempt=1, time=1009.0),
        line(type="event", event="finish", attempt=1, time=1009.0),
    ]  # fmt: skip
    run = written(tmp_path / "run", *lines)
    assert why in " ".join(shown(run, width).split())
    small = shown(run, 80, 16).splitlines()
    assert sum("shard" in row for row in small) == 4
    assert len(small) <= 16


def test_hostile_texts_do_nothing(tmp_path: Path) -> None:
    """In keys, tables, columns, prompts, names, logs, errors and events, and as long as they like."""
    long = HOSTILE * 20_000
    lines = [run_line(name=HOSTILE), steps_event(10)]
    rows = [{"prompt": long, HOSTILE: HOSTILE, "reward": 1.0}, {"prompt": HOSTILE, "reward": -1.0}]
    for step in range(3):
        values = {f"{HOSTILE}/loss": 1.0, f"time/{HOSTILE}/a_s": 1.0, f"obs/{HOSTILE}": 1.0,
                  f"obs/sink/{HOSTILE}/lag_steps": 50.0, f"host/{HOSTILE}": 1.0}  # fmt: skip
        lines.append(commit(step, values, texts={HOSTILE: long}))
        lines.append(line(type="sample", seq=step + 1, step=step, attempt=1, table=HOSTILE, rows=rows))
    lines.append(line(type="event", event="nonfinite", key=long, step=2, nan=1, site=HOSTILE, attempt=1))
    lines.append(line(type="event", event="failed", error=long[:2000], attempt=1, time=1.0))
    lines.append(line(type="event", event="finish", missing=[], attempt=1, time=1.0))
    run = written(tmp_path / "run", *lines)
    logged(run, 0, warning(1.0, HOSTILE), {**warning(2.0, "x", level="ERROR"), "exception": f"a\n{HOSTILE}"})
    watched = Watch(run)
    for width in (60, 80, 200):
        for height in (None, 30):
            for view in (View(), View(typed=HOSTILE), View(shows_all=True)):
                shown(watched, width, height, view=view)  # which checks that all of it can be printed


def test_a_terminal_without_blocks_has_plain_characters(tmp_path: Path) -> None:
    found = facts(rich_run(tmp_path / "run"))
    lines = page(found, 80, None, view=View(), glyphs=PLAIN, now=2000.0)
    text = "\n".join(in_ascii(each).plain for each in lines)
    assert text.isascii()
    assert "?" not in text.replace("2 + 2?", "").replace("3 + 3?", "")
    assert "CRASHED" in text


def test_patterns_that_nothing_fits_are_said(tmp_path: Path) -> None:
    text = shown(rich_run(tmp_path / "run"), patterns=["nothing/*"])
    assert "no metric fits nothing/*; there are train/" in text


def test_a_view_may_have_all_metrics_or_those_that_fit(tmp_path: Path) -> None:
    watched = Watch(rich_run(tmp_path / "run"))
    every = watched.facts(View(shows_all=True))
    assert len(every.metrics) == len(every.keys)
    found = watched.facts(View(typed="rew max"))
    assert [metric.key for metric in found.metrics] == ["train/reward/total/max"]


@pytest.mark.parametrize("width", [72, 80, 100, 140])
def test_no_figure_is_cut(tmp_path: Path, width: int) -> None:
    """Also the longest ones, beside the longest names: names give way, and then curves."""
    name = "train/a_component_with_a_rather_long_name/and_another_part/loss"
    lines = [run_line(processes=2)]
    for step in range(20):
        own = [1.0, 3.0]
        lines.append(commit(step, {name: -1.2345e-17 * (20 if step < 5 else 1), "train/kl": -123456.5,
                                   f"time/{name}_s": 2.0}))  # fmt: skip
        lines.append(process_values(step, {f"time/{name}_s": own}))
    text = shown(written(tmp_path / "run", *lines), width, patterns=["train/*"])
    (loss,) = [row for row in text.splitlines() if "-1.235e-17" in row]
    assert "-7.098e-17   ↘ -95 %" in loss
    (slow,) = [row for row in text.splitlines() if row.startswith("process 1 in ")]
    assert "+2 s over the others' 1 s, in 20 of 20 steps" in slow


def test_a_long_trouble_has_a_second_row(tmp_path: Path) -> None:
    """So that at 80 columns the line of code is there, and what follows it."""
    key, site = "train/a_component/with_a_long_name/importance_ratio", "/home/somebody/project/train.py:212"
    event = line(type="event", event="nonfinite", key=key, step=1, processes=[7], nan=1, site=site, attempt=1,
                 time=1002.0)  # fmt: skip
    text = shown(written(tmp_path / "run", run_line(), commit(0, {}), event, commit(1, {key: 1.0})), 80)
    at = text.index(f"! {key} is nan first in step 1")
    rows = text[at:].splitlines()
    assert f"{rows[0][2:]} {rows[1][2:]}" == f"{key} is nan first in step 1 on process 7, recorded at {site}"
    assert rows[1].startswith("  ")


def test_of_all_metrics_those_of_hosts_come_last_and_with_units(tmp_path: Path) -> None:
    watched = Watch(rich_run(tmp_path / "run"))
    every = watched.facts(View(shows_all=True))
    drawn = page(every, 200, None, view=View(shows_all=True), glyphs=PLAIN, now=1.0)
    rows = [row.plain for row in drawn if row.plain.startswith(tuple(each.key for each in every.metrics))]
    hosts = [row.startswith("host/") for row in rows]
    assert hosts == sorted(hosts)
    assert sum(hosts) > 2
    assert "60 GB" in next(row for row in rows if row.startswith("host/memory/used_bytes/mean"))
    assert "50 %" in next(row for row in rows if row.startswith("host/machine/cpu_fraction/mean"))
