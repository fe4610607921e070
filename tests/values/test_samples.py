"""Which rows of a sample table travel, and where they are cut."""

from __future__ import annotations

import enum
import math
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.posting.sample_files import SampleFiles
from sightline.values.samples import POSTED, block_of, candidates, choose, cut, rows_of
from sightline.views.history import History

TEXTS = st.text(max_size=400) | st.text("ab👩\u200d🚀e\u0301🇩🇪👍🏽", max_size=400)


def test_one_value_stands_for_all_rows() -> None:
    block = block_of("t", {"prompt": "1 + 1 =", "completion": ["2", "11"], "reward": np.array([1.0, 0.0])})
    assert list(rows_of(block)) == [
        {"prompt": "1 + 1 =", "completion": "2", "reward": 1.0},
        {"prompt": "1 + 1 =", "completion": "11", "reward": 0.0},
    ]


def test_cells_are_what_json_holds() -> None:
    odd = {
        "a": math.nan,
        "b": np.int64(3),
        "c": None,
        "d": {"x": 1},
        "e": "\ud800",
        "f": True,
        "g": np.float32(0.5),
    }
    assert list(rows_of(block_of("t", odd))) == [
        {"a": "nan", "b": 3, "c": None, "d": "{'x': 1}", "e": "\\ud800", "f": True, "g": 0.5}
    ]


class Odd:
    """Whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class OddInt(int):
    """Whose number cannot be had."""

    def __int__(self) -> int:
        raise RuntimeError("no number")


CELLS = (
    st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.sampled_from(
        [
            10**30, -(2**63) - 1, 2**64, 2**64 - 1, 10**5000, "\ud800", "\0", None, True, np.True_,
            np.timedelta64(3, "s"), np.uint64(2**64 - 1), np.datetime64("2020-01-01"), np.float16("inf"),
            np.longdouble("1e4000"), enum.IntEnum("I", "A")(1), Odd(), OddInt(3), [[1]], {"\ud800": 1},
        ]
    )
)  # fmt: skip


@given(st.lists(CELLS, min_size=1), st.text(min_size=1).filter(lambda name: name not in ("process", "step")))
def test_whatever_cells_hold_becomes_lines_of_json(cells: list[object], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = SampleFiles(lambda: (Path(folder), "run", 1), 0, 1)
        posted, failed = files.keep((0, 0), [block_of("t", {name: cells, "reward": cells})])
        lines = (Path(folder) / "samples" / "t.p00000.a01.jsonl").read_bytes().splitlines()
    assert failed == 0
    assert posted["t"]["recorded"] == len(cells) == len(lines) - 1
    assert orjson.loads(orjson.dumps(posted)) == posted


@pytest.mark.parametrize("reward", [10**30, -(2**63) - 1, 10**5000], ids=["large", "low", "endless"])
def test_an_integer_beyond_64_bits_costs_neither_its_row_nor_the_commit(tmp_path: Path, reward: int) -> None:
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in range(2):
            sl.scalar(loss=0.5)
            sl.sample("t", prompt=["x"], reward=[reward if step else 1.0])
            run.commit(step)
    records = list(sl.read_journal(tmp_path / "run"))
    assert [r["values"] for r in records if r["type"] == "commit"] == [{"loss": 0.5}, {"loss": 0.5}]
    shown = str(reward) if reward < 10**100 else "[int]"  # of which Python writes no digits
    assert [r["rows"][0]["reward"] for r in records if r["type"] == "sample"] == [1.0, shown]


def test_samples_that_cannot_be_kept_are_counted_and_cost_neither_metrics_nor_other_tables(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Torn(list):  # type: ignore[type-arg]
        """One that is not what it seems, as a caller's own kind of list may be."""

        def __iter__(self) -> Iterator[object]:
            raise RuntimeError("torn")

    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        sl.scalar(loss=0.5)
        sl.sample("good", prompt=["x"])
        sl.sample("bad", prompt=["x"])
        (block,) = [each for each in sl.tracker()._records.samples if each.table == "bad"]
        block.columns["prompt"] = Torn(["x"])
        run.commit(0)
    records = list(sl.read_journal(tmp_path / "run"))
    values = [r["values"] for r in records if r["type"] == "commit"]
    assert values == [{"loss": 0.5, "obs/unwritten_samples": 1}]
    assert [r["table"] for r in records if r["type"] == "sample"] == ["good"]
    assert "samples of 'bad' cannot be kept" in caplog.text


def test_what_the_caller_changes_afterwards_is_not_changed_here() -> None:
    completions, rewards = ["a", "b"], np.array([1.0, 2.0])
    block = block_of("t", {"completion": completions, "reward": rewards})
    completions[0], rewards[0] = "changed", 9.0
    assert next(rows_of(block)) == {"completion": "a", "reward": 1.0}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no columns"),
        ({"a": ["x"], "b": ["x", "y"]}, r"unlike lengths \(a: 1, b: 2\)"),
        ({"a": ["x"], "step": [3]}, "sinks add a column 'step' of their own"),
        ({"a": ["x"], "process": [3]}, "expected another name, as in process_of_task"),
    ],
)
def test_columns_that_make_no_table_raise(columns: dict[str, object], message: str) -> None:
    with pytest.raises(sl.RecordError, match=message):
        sl.sample("t", **columns)
    with pytest.raises(sl.RecordError, match="are none"):
        sl.sample("../t", a="x")


def test_values_on_devices_are_refused_and_not_waited_for() -> None:
    import jax.numpy as jnp

    with pytest.raises(sl.RecordError, match="lie on a device"):
        sl.sample("t", reward=jnp.ones(3))
    with pytest.raises(sl.RecordError, match="lie on a device"):
        sl.sample("t", reward=[jnp.float32(1)])


def test_a_process_posts_the_best_the_worst_and_one_at_random() -> None:
    rows = [{"text": str(i), "reward": float(reward)} for i, reward in enumerate([3, 9, 1, 4, 5])]
    posted = candidates(rows, seed="1")
    assert [row["reward"] for row in posted[:2]] == [9.0, 1.0]
    assert len(posted) == POSTED
    assert posted == candidates(rows, seed="1")
    drawn = {candidates(rows, seed=str(seed))[2]["text"] for seed in range(50)}
    assert drawn == {"0", "3", "4"}


def test_no_row_is_posted_twice_and_none_needs_a_reward() -> None:
    assert candidates([{"reward": 1.0}], seed="") == [{"reward": 1.0}]
    assert candidates([], seed="") == []
    assert len(candidates([{"text": str(i)} for i in range(10)], seed="")) == POSTED
    assert candidates([{"reward": "nan"}, {"reward": 2.0}], seed="")[0] == {"reward": 2.0}


def test_the_root_chooses_best_and_worst_of_all_processes() -> None:
    posted = {p: candidates([{"reward": float(10 * p + i)} for i in range(5)], seed=str(p)) for p in range(4)}
    chosen = choose(posted, 8, seed="s")
    assert (chosen[0], chosen[1]) == ({"reward": 34.0, "process": 3}, {"reward": 0.0, "process": 0})
    assert len(chosen) == 8
    assert len({row["reward"] for row in chosen}) == 8
    assert chosen == choose(dict(reversed(posted.items())), 8, seed="s")
    assert choose(posted, 1, seed="s") == [{"reward": 34.0, "process": 3}]
    assert choose(posted, 0, seed="s") == []


def test_the_call_says_what_makes_rows_best_and_worst_and_the_journal_does_too(tmp_path: Path) -> None:
    """What is chosen and what views rank go by it; a column that the call does not have is refused."""
    with sl.start(tmp_path, name="run", sinks=[], config=None) as run:
        score = [float(at * 7 % 20) for at in range(20)]
        sl.sample("t", rank_by="score", text=[str(at) for at in range(20)], score=score, reward=[*range(20)])
        sl.sample("u", prompt=["a", "b", "c"], reward=[1.0, 2.0, 0.0])
        run.commit(0)
        with pytest.raises(sl.RecordError, match=r"rank_by='acc'.*of text, score"):
            sl.sample("t", rank_by="acc", text="a", score=1.0)
    lines = {each["table"]: each for each in sl.read_journal(run.dir) if each["type"] == "sample"}
    assert [row["score"] for row in lines["t"]["rows"][:2]] == [19.0, 0.0]
    assert (lines["t"]["ranked_by"], lines["u"]["ranked_by"]) == ("score", "reward")
    history = History(run.dir)
    history.update()
    assert {name: table.ranked_by for name, table in history.samples.items()} == {"t": "score", "u": "reward"}


@given(st.dictionaries(st.sampled_from("abcd"), TEXTS, min_size=1), st.integers(200, 2000))
def test_a_row_is_cut_to_its_bytes_between_characters(row: dict[str, str], most: int) -> None:
    shortened = cut(row, most)  # type: ignore[arg-type]
    assert sum(len(str(text).encode()) for text in shortened.values()) <= most
    for name, text in row.items():
        kept, _, note = str(shortened[name]).rpartition("… [")
        if shortened[name] == text:
            continue
        assert text.startswith(kept)
        assert note == f"{len(text) - len(kept)} of {len(text)} characters cut]"
        rest = text[len(kept) :]
        if kept:
            assert not unicodedata.combining(rest[0])
            assert "\u200d" not in (kept[-1], rest[0])


@pytest.mark.parametrize(
    "character",
    [
        "👩\u200d🚀",
        "👍🏽",
        "🇩🇪",
        "\U0001f3f4" + "".join(chr(0xE0000 + ord(tag)) for tag in "gbeng") + "\U000e007f",
        "1\ufe0f\u20e3",
        "e\u0301\u0323",
        "\u1112\u1161\u11ab",
        "가\u11ab",
        "क्ष",
        "क्‍ष",
        "ক্ত্র",
        "கி",
        "กำ",
        "ｶﾞ",
        "\u0600١",
        "\r\n",
        "한",
        "é",
        "漢",
        "日",
    ],
)
def test_a_character_is_kept_whole_or_not_at_all_and_as_many_as_there_is_room_for(character: str) -> None:
    size = len(character.encode())
    for most in range(45, 45 + 3 * size):
        text = str(cut({"t": character * 400}, most)["t"])
        kept = text.rpartition("… [")[0]
        assert kept == character * (len(kept) // len(character))
        assert len(text.encode()) <= most < len(text.encode()) + size + 4  # the note's number may be shorter


def test_flags_in_a_row_are_counted_in_pairs_from_where_they_begin() -> None:
    for before in ("", "x", "🇩x"):
        kept = str(cut({"p": before + "🇩🇪" * 600 + "x" * 4000}, 4096)["p"]).rpartition("… [")[0]
        flags = kept.removeprefix(before)
        assert flags == "🇩🇪" * (len(flags) // 2)
        assert len(kept.encode()) > 4040


def test_letters_that_belong_to_no_cluster_are_cut_anywhere() -> None:
    for text in ("ab" * 200, "漢字" * 200, "한국" * 200, "कल" * 200, "แปล" * 200):
        lengths = {len(str(cut({"t": text}, most)["t"]).rpartition("… [")[0]) for most in range(60, 130)}
        assert len(lengths) == max(lengths) - min(lengths) + 1


def test_short_texts_leave_their_room_to_long_ones() -> None:
    row = cut({"prompt": "p" * 100, "completion": "c" * 9000}, 4096)
    assert row["prompt"] == "p" * 100
    assert 3900 < len(str(row["completion"])) <= 3996
