"""The category of a span is known in every file, also where spans share their thread with others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import orjson
import pytest
from click.testing import CliRunner

import sightline as sl
from sightline.analysis.run_analysis import analyse
from sightline.cli import main as command
from sightline.timeline.events import Span
from sightline.timeline.merging import Format, Timeline, merge
from sightline.timeline.stages import one_run, stage_spans
from tests.perfetto import Engine
from tests.timeline.conftest import Merged

CATEGORIES = {"outer": "compute", "inner": "io", "none": "", "lives": "data", "long": "sync"}


@sl.trace_scope("lives", category="data")
def generator() -> Iterator[int]:
    yield 1


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    async def task() -> None:
        with sl.trace_scope("outer", category="compute", n=1):
            with sl.trace_scope("inner", category="io"):
                await asyncio.sleep(0)
            with sl.trace_scope("none"):
                pass

    async def long(path: Path) -> None:
        with sl.trace_scope("long") as span:
            while b'"ph":"b","name":"long"' not in b"".join(p.read_bytes() for p in path.glob("traces/*")):
                await asyncio.sleep(0.02)
            span.set(category="sync", tokens=3)

    async def tasks(path: Path) -> None:
        await asyncio.gather(task(), task(), long(path))

    with sl.start(tmp_path, name="run", sinks=[]) as run:
        asyncio.run(tasks(run.wait_dir()))
        list(generator())
        run.commit(0)
    return tmp_path / "run"


def test_a_span_in_a_lane_has_its_category_after_reading(traced: Path, tmp_path: Path) -> None:
    spans = [e for _, e in Timeline([traced]).events() if isinstance(e, Span) and e.name in CATEGORIES]
    assert {span.name: span.category for span in spans} == CATEGORIES
    assert all(span.lane is not None and "category" not in span.args for span in spans)
    assert [span.args for span in spans if span.name == "long"] == [{"tokens": 3}]
    merge([traced], tmp_path / "out.jsonl", "jsonl")
    lines = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert {e["name"]: e["cat"] for e in lines if e["name"] in CATEGORIES} == CATEGORIES | {"none": "misc"}


@pytest.mark.parametrize("kind", ["live", "json", "pftrace"])
def test_perfetto_knows_the_category_and_keeps_spans_nested(
    traced: Path, engine: Engine, merged: Merged, kind: str
) -> None:
    if kind == "live":
        trace = engine.load(next(traced.glob("traces/*.json")))
        assert trace.errors() == {}
    else:
        fmt: Format = "json" if kind == "json" else "pftrace"
        trace, _ = merged(traced, kind=fmt)
    rows = trace.query(
        "select s.name, s.category, p.name as inside, (select display_value from args a where"
        " a.arg_set_id = s.arg_set_id and a.key like '%category') as arg"
        " from slice s left join slice p on p.id = s.parent_id"
    )
    found = {row["name"]: row for row in rows if row["name"] in CATEGORIES}
    key = "category" if kind == "pftrace" else "arg"
    assert {name: row[key] or "" for name, row in found.items()} == CATEGORIES
    assert {name: row["inside"] for name, row in found.items()} == {
        "outer": None, "inner": "outer", "none": "outer", "lives": None, "long": None,
    }  # fmt: skip


def test_what_devices_did_is_of_category_device(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        for step in run.steps(2):
            with sl.record_timing("update") as timing:
                timing.until(jnp.arange(8) * step)
            run.commit(step)
    spans = [span for span in stage_spans(one_run([tmp_path / "run"])) if span.category == "device"]
    assert [(span.name, span.step) for span in spans] == [("update", 0), ("update", 1)]
    found = {stage.name: stage for stage in analyse(stage_spans(one_run([tmp_path / "run"]))).stages}
    assert found["update"].spans == 2


async def train(run: sl.Run) -> None:
    async def beside(number: int) -> None:
        with sl.trace_scope("beside"):
            await asyncio.sleep(0.001 * number)

    others = [asyncio.create_task(beside(i)) for i in range(8)]  # which have the lower lanes first
    await asyncio.sleep(0)
    for step in run.steps(6):
        with sl.trace_scope("rollout"):
            await asyncio.sleep(0.003)
        with sl.trace_scope("update"):
            time.sleep(0.001)
        run.commit(step)
    await asyncio.gather(*others)


def test_a_loop_in_a_coroutine_has_its_steps_and_stages_in_the_summary(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        asyncio.run(train(run))
    run_dir = tmp_path / "run"
    done = CliRunner().invoke(command, ["trace", "summary", str(run_dir), "--json"])
    assert done.exit_code == 0, done.output
    found = orjson.loads(done.stdout)
    assert [step["step"] for step in found["steps"]] == list(range(6))
    assert {stage["name"]: stage["spans"] for stage in found["stages"]} == {"rollout": 6, "update": 6}
    assert found["wall_s"] == pytest.approx(sum(step["wall_s"] for step in found["steps"]))
    assert [(each["name"], each["spans"]) for each in found["beside"]] == [("beside", 8)]
