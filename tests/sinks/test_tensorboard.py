"""What TensorBoard's own reader finds is what the journal says, after crashes and rewinds too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.sinks.base import SinkRun
from sightline.sinks.commits import SEQ
from sightline.sinks.tensorboard import TensorBoardConfig, TensorBoardSink, events, last_seq
from tests.sinks.attempts import warnings_said
from tests.sinks.readers.tensorboard import numbers, read, seqs, shown_by_plugins


def start(folder: Path, **settings: Any) -> sl.Run:
    return sl.start(folder, name="run", sinks=["tensorboard"], naming="off", resume="allow", **settings)


def commits(run: Path) -> list[dict[str, Any]]:
    return [record for record in sl.read_journal(run) if record["type"] == "commit"]


def test_tensorboard_shows_every_value_of_the_journal(tmp_path: Path) -> None:
    with start(tmp_path, config={"lr": 1e-3, "model": {"width": 8}}) as run:
        for step in run.steps(5):
            sl.scalar(loss=1.0 / (step + 1), odd=math.inf if step == 2 else 1.0)
            sl.summary("reward", np.arange(step + 1.0))
            sl.text(split="test")
            run.commit(step)
    found = read(run.dir / "tensorboard")
    for key in commits(run.dir)[0]["values"]:
        if not key.startswith("obs/"):
            shown = dict(numbers(found, key))
            for commit in commits(run.dir):
                expected = commit["values"][key]
                expected = math.inf if expected is None else np.float32(expected)
                assert shown[commit["step"]] == expected, (key, commit["step"])
    assert not any(tag.endswith("__count") for tag in found.Tags()["scalars"])
    texts = {
        tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("split", "run/config")
    }
    assert texts["split"] == "test"
    assert "`model.width`: `8`" in texts["run/config"]
    assert seqs(run.dir / "tensorboard") == [1, 2, 3, 4, 5]


def test_values_are_as_32_bit_floats_have_them(tmp_path: Path) -> None:
    """As docs/sinks.md says it; the journal has them as they were."""
    with start(tmp_path) as run:
        run.commit(0, {"large": 1e300, "low": -1e39, "small": 1e-50, "whole": 2**24 + 1})
    found = read(run.dir / "tensorboard")
    shown = {key: numbers(found, key)[0][1] for key in ("large", "low", "small", "whole")}
    assert shown == {"large": math.inf, "low": -math.inf, "small": 0.0, "whole": 2.0**24}


def test_a_histogram_stands_in_the_event_of_its_commit(tmp_path: Path) -> None:
    with start(tmp_path) as run:
        sl.scalar(loss=0.5)
        sl.histogram("length", np.arange(100.0), bins=10)
        run.commit(3)
    found = read(run.dir / "tensorboard")
    (shown,) = found.Histograms("length")
    assert shown.step == 3
    value = shown.histogram_value
    assert value.num == sum(value.bucket) == 100
    assert (value.min, value.bucket_limit[-1]) == (0, pytest.approx(99))
    assert value.sum / value.num == pytest.approx(49.5, rel=0.05)
    (path,) = (run.dir / "tensorboard").glob("events.*")
    tags = [{value.tag for value in event.summary.value} for event in events(path)]
    assert any({"loss", "length", SEQ} <= found for found in tags)


def test_samples_are_shown_as_text_whatever_is_in_them(tmp_path: Path) -> None:
    with start(tmp_path) as run:
        sl.scalar(loss=0.5)
        sl.sample(
            "rollouts", completion=["<script>alert(1)</script>", "```\n# no heading"], reward=[1.0, 0.0]
        )
        run.commit(0)
    (shown,) = read(run.dir / "tensorboard").Tensors("samples/rollouts")
    text = shown.tensor_proto.string_val[0].decode()
    assert text.startswith("2 of 2 rows")
    assert "reward: 1.0, process: 0\n\ncompletion\n```\n<script>alert(1)</script>\n```" in text
    assert "````\n```\n# no heading\n````" in text


def test_a_file_cut_in_the_middle_of_an_event_is_made_good(tmp_path: Path) -> None:
    """As after a crash of the machine: the cut commit and what is missing come again, in a new file."""
    with start(tmp_path) as run:
        for step in run.steps(6):
            sl.scalar(loss=step)
            run.commit(step)
    (path,) = (run.dir / "tensorboard").glob("events.*")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    stored = last_seq(path.parent, str(run.run_id))
    assert 0 < stored < 6
    with start(tmp_path) as run:
        sl.scalar(loss=6)
        run.commit(6)
    assert seqs(path.parent) == [1, 2, 3, 4, 5, 6, 7]
    assert numbers(read(path.parent), "loss") == [(step, float(step)) for step in range(7)]


def test_a_newly_added_sink_gets_the_run_from_its_beginning(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(3):
            sl.scalar(loss=step)
            run.commit(step)
    with start(tmp_path) as run:
        sl.scalar(loss=3)
        run.commit(3)
    assert numbers(read(run.dir / "tensorboard"), "loss") == [(step, float(step)) for step in range(4)]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["continue", "fork", "skip"])
def test_a_rewound_run_is_shown_as_wanted(rewind: Any, announced: bool, tmp_path: Path) -> None:
    """Ten steps, and again from the fifth on, with other values."""
    settings = {"logger": sl.StatsLoggerConfig(tensorboard=sl.TensorBoardConfig(rewind=rewind))}
    states = []
    with start(tmp_path, **settings) as run:
        for step in run.steps(10):
            sl.scalar(loss=step)
            sl.text(note=f"first {step}")
            run.commit(step)
            states.append(run.state_dict())
    with start(tmp_path, state_dict=states[4] if announced else None, **settings) as run:
        for step in run.steps(12, start=5):
            sl.scalar(loss=100 + step)
            sl.text(note=f"again {step}")
            run.commit(step)
    first = [(step, float(step)) for step in range(10)]
    again = [(step, 100.0 + step) for step in range(5, 12)]
    shown = numbers(read(run.dir / "tensorboard"), "loss")
    assert shown_by_plugins(run.dir / "tensorboard", "loss") == shown
    notes = shown_by_plugins(run.dir / "tensorboard", "note")
    assert notes == [(step, f"{'again' if loss >= 100 else 'first'} {step}") for step, loss in shown]
    assert shown_by_plugins(run.dir / "tensorboard", "run/config") == [(0, "(none)")]
    if rewind == "continue":
        assert shown == [*first[:5], *again]
        assert seqs(run.dir / "tensorboard") == list(range(1, 18))  # all are in the files
    elif rewind == "fork":
        assert shown == first
        assert numbers(read(run.dir / "tensorboard.fork02"), "loss") == [*first[:5], *again]
    else:
        assert shown == [*first, *again[-2:]]


def test_files_of_one_second_do_not_collide(tmp_path: Path) -> None:
    for step in range(3):
        with start(tmp_path) as run:
            sl.scalar(loss=step)
            run.commit(step)
    assert len(list((run.dir / "tensorboard").glob("events.*"))) == 3
    assert numbers(read(run.dir / "tensorboard"), "loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]


def write(sink: TensorBoardSink, *numbers: int) -> None:
    sink.write(
        [{"type": "commit", "seq": n, "step": n, "time": 0.0, "values": {"loss": float(n)}} for n in numbers]
    )


def test_a_sink_reopened_within_a_second_knows_what_it_has_stored(tmp_path: Path) -> None:
    """As after writes that fail; twenty files whose names had no order would be right by chance alone."""
    sink, run = TensorBoardSink(), SinkRun("id", "run", tmp_path, 1)
    for number in range(1, 21):
        assert sink.open(run) == number - 1
        write(sink, number)
    sink.close()
    assert seqs(tmp_path / "tensorboard") == list(range(1, 21))
    assert [step for step, _ in shown_by_plugins(tmp_path / "tensorboard", "loss")] == list(range(1, 21))


def test_a_clock_that_goes_back_between_attempts_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt, clock in enumerate((2_000_000_000, 1_000_000_000, 1_000_000_001), 1):
        monkeypatch.setattr("sightline.sinks.tensorboard.time.time", lambda clock=clock: float(clock))
        sink = TensorBoardSink()
        assert sink.open(SinkRun("id", "run", tmp_path, attempt)) == attempt - 1
        write(sink, attempt)
        sink.close()
    assert seqs(tmp_path / "tensorboard") == [1, 2, 3]


def test_commits_in_files_of_any_order_count(tmp_path: Path) -> None:
    """A folder whose files were renamed, as by a copy."""
    run = SinkRun("id", "run", tmp_path, 1)
    for number in (1, 2):
        sink = TensorBoardSink()
        sink.open(run)
        write(sink, number)
        sink.close()
    first, second = sorted((tmp_path / "tensorboard").iterdir())
    second.rename(first.with_name("events.out.tfevents.0000000001.copy"))
    assert last_seq(tmp_path / "tensorboard", "id") == 2


def test_a_folder_of_another_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """TensorBoard would show both as one, and the commits of the one are none of the other."""
    settings = {
        "naming": "off",
        "logger": sl.StatsLoggerConfig(tensorboard=TensorBoardConfig(dir=tmp_path / "tb")),
    }
    for name in ("a", "b"):
        with warnings_said() as said, sl.start(tmp_path, name=name, sinks=["tensorboard"], **settings) as run:
            sl.scalar(loss=1)
            run.commit(0)
            if name == "b":
                run.flush(2)
                run.finish(1)
        if name == "a":
            assert said == []
            before = {path: path.read_bytes() for path in (tmp_path / "tb").iterdir()}
            owner = run.run_id
    assert f"has event files of run {owner}" in said[0]
    assert "give each run a tensorboard.dir of its own" in said[0]
    assert {path: path.read_bytes() for path in (tmp_path / "tb").iterdir()} == before


def test_files_of_another_writer_are_no_hindrance(tmp_path: Path) -> None:
    from tensorboard.summary import Writer

    with_others = Writer(str(tmp_path / "tensorboard"))
    with_others.add_scalar("theirs", 1.0, 3)
    with_others.close()
    sink = TensorBoardSink()
    assert sink.open(SinkRun("id", "run", tmp_path, 1)) == 0
    write(sink, 1)
    sink.close()
    assert shown_by_plugins(tmp_path / "tensorboard", "theirs") == [(3, 1.0)]
    assert shown_by_plugins(tmp_path / "tensorboard", "loss") == [(1, 1.0)]


def test_a_fork_lies_beside_a_folder_that_was_given_with_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sink = TensorBoardSink(TensorBoardConfig(dir="~/tb/"))
    for fork in (0, 2):
        sink.open(SinkRun("id", "run", tmp_path / "run", 1, fork=fork))
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tb", "tb.fork02"]
    assert all(path.is_file() for path in (tmp_path / "tb").iterdir())


def test_a_key_that_is_called_as_ours_gets_another_name(tmp_path: Path) -> None:
    """The same one in the next attempt; our numbers stay ours."""
    name = f"{SEQ}_c009c84b"
    for stop in (3, 5):
        with (
            warnings_said() as said,
            sl.start(tmp_path, name="run", resume="allow", sinks=["tensorboard"], naming="off") as run,
        ):
            for step in run.steps(stop):
                run.commit(step, {SEQ: 0.25, "loss": 1.0})
        if stop == 3:
            assert (
                sum(f"shows {SEQ!r} as {name!r}, since the sink itself has its name" in e for e in said) == 1
            )
    folder = run.dir / "tensorboard"
    assert numbers(read(folder), name) == [(step, 0.25) for step in range(5)]
    assert seqs(folder) == [1, 2, 3, 4, 5]
    assert last_seq(folder, run.logger.run_id) == 5
