"""MiniOneRec's file shapes: read back as written, and strict about everything else."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runners.common.errors import DataError
from runners.recommendation import files, synthetic
from runners.recommendation.__main__ import main
from runners.recommendation.catalogue import Dataset
from runners.recommendation.files import COLUMNS, Paths

HISTORY_SID, ITEM_SID = COLUMNS.index("history_item_sid"), COLUMNS.index("item_sid")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.generate(items=80, codes=8, train_users=12, valid_users=3, test_users=3, seed=0)


@pytest.fixture
def paths(dataset: Dataset, tmp_path: Path) -> Paths:
    return files.write(tmp_path, "shop", dataset)


def test_what_is_written_is_read_back(dataset: Dataset, paths: Paths) -> None:
    back = files.read(paths)
    assert back.catalogue == dataset.catalogue
    for name in ("train", "valid", "test"):
        a, b = getattr(back, name), getattr(dataset, name)
        assert (a.users, a.histories) == (b.users, b.histories)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_the_files_have_the_shapes_that_minionerecs_scripts_read(dataset: Dataset, paths: Paths) -> None:
    with open(paths.train, newline="") as file:
        header, first = list(csv.reader(file))[:2]
    assert header == [
        *("user_id", "history_item_title", "item_title", "history_item_id"),
        *("item_id", "history_item_sid", "item_sid"),
    ]
    titles, ids, sids = (eval(first[i]) for i in (1, 3, 5))  # as pandas users do
    item = dataset.train.histories[0][0]
    assert (titles, ids, sids) == ([dataset.catalogue.titles[item]], [item], [dataset.catalogue.sid(item)])
    index, items = (json.loads(Path(path).read_text()) for path in (paths.index, paths.items))
    assert index["7"] == list(dataset.catalogue.sids[7])
    assert items["7"]["title"] == dataset.catalogue.titles[7]
    line = Path(str(paths.info)).read_text().splitlines()[7]
    assert line.split("\t") == [dataset.catalogue.sid(7), dataset.catalogue.titles[7], "7"]
    assert Path(paths.valid).parent.name == "valid"


def test_titles_with_quotes_commas_and_line_breaks_survive(dataset: Dataset, tmp_path: Path) -> None:
    titles = ('6" "Pro", 2-pack', "it's a bolt", "Größe 3½", *dataset.catalogue.titles[3:])
    odd = Dataset(
        type(dataset.catalogue)(dataset.catalogue.ids, titles, dataset.catalogue.sids),
        dataset.train,
        dataset.valid,
        dataset.test,
    )
    paths = files.write(tmp_path, "odd", odd)
    assert files.read(paths).catalogue.titles == titles
    text = Path(paths.items).read_text().replace("it's a bolt", "it's a\\n bolt ")
    Path(paths.items).write_text(text)
    assert files.read_catalogue(paths.index, paths.items).titles[1] == "it's a bolt"


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\n\r\r\n\t"


def test_titles_with_any_separator_are_written_so_that_they_can_be_read(
    dataset: Dataset, tmp_path: Path
) -> None:
    """Also those that Python, and not CSV, takes for the end of a line; in every file, the info file too."""
    titles = tuple(f"a{s}b {i}" for i, s in enumerate(SEPARATORS))
    catalogue = dataset.catalogue
    odd = type(catalogue)(catalogue.ids, (*titles, *catalogue.titles[len(titles) :]), catalogue.sids)
    paths = files.write(tmp_path, "odd", Dataset(odd, dataset.train, dataset.valid, dataset.test))
    back = files.read(paths)
    assert back.catalogue.titles[: len(titles)] == tuple(f"a b {i}" for i in range(len(titles)))
    assert back.train.histories == dataset.train.histories


def test_separators_in_files_that_others_have_written_are_no_ends_of_rows(
    dataset: Dataset, paths: Paths
) -> None:
    """They are part of a title, which is the catalogue's anyway."""
    for path in (paths.train, str(paths.info)):
        title = dataset.catalogue.titles[0].split()[0]
        edit(path, lambda t, title=title: t.replace(title, f"{title}\u2028\x85\x0b"))  # type: ignore[misc]
    assert files.read(paths).train.histories == dataset.train.histories


def test_files_may_begin_with_a_byte_order_mark(dataset: Dataset, paths: Paths) -> None:
    """As spreadsheets write them."""
    for path in (paths.train, paths.index, paths.items, str(paths.info)):
        edit(path, lambda t: f"\ufeff{t}")
    assert files.read(paths).catalogue == dataset.catalogue


def edit(path: str, change: Callable[[str], str]) -> None:
    text = Path(path).read_text()
    changed = change(text)
    assert changed != text
    Path(path).write_text(changed)


def edit_row(path: str, row: int, column: int, value: str) -> None:
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    rows[row][column] = value
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


INDEX_CASES = {
    "not JSON": (lambda t: t.replace('"5": [', '"5" ['), r"index.json:7: not valid JSON: Expecting ':'"),
    "no object": (lambda t: "[1]", r"index.json:1: expected a JSON object by item id, found '\[1\]'"),
    "no list": (
        lambda t: re.sub(r'"5": \[.*?\]', '"5": "<a_1>"', t),
        r"index.json:7: item '5': expected a list of SID tokens as .* found '<a_1>'",
    ),
    "two tokens": (
        lambda t: re.sub(r'"5": \["(.*?)", ', '"5": [', t),
        r"index.json:7: item '5': expected 3 SID tokens, found 2: ",
    ),
    "four tokens": (
        lambda t: t.replace('"5": [', '"5": ["<a_0>", '),
        r"index.json:7: item '5': expected 3 SID tokens, found 4: ",
    ),
    "tokens in another order": (
        lambda t: re.sub(r'"5": \[("<a_\d+>"), ("<b_\d+>")', r'"5": [\2, \1', t),
        r"index.json:7: item '5': expected SID tokens as \[\"<a_12>\", \"<b_3>\", \"<c_7>\"\], found",
    ),
    "one SID twice": (
        lambda t: re.sub(r'"5": (\[.*?\])', lambda m: '"5": ' + re.search(r'"2": (\[.*?\])', t)[1], t),
        r"index.json:7: item '5' has the same SID as item '2': <a_\d+><b_\d+><c_\d+>",
    ),
    "one item twice": (
        lambda t: t.replace('"6": [', '"5": ['),
        r"index.json:7: the key '5' is there twice",
    ),
    "an id that is no text": (
        lambda t: t.replace('"5": [', '"5\\ud83d": ['),
        r"index.json:7: item '5\\ud83d': expected an id that is text, found the lone surrogate \\ud83d in it",
    ),
    "nested deeply": (
        lambda t: t.replace('"5": [', '"5": [' + "[" * 100_000 + "]" * 100_000 + ", "),
        r"index.json:7: the JSON is nested too deeply to be read$",
    ),
    "nested as deeply as can be read": (
        lambda t: t.replace('"5": [', '"5": [' + "[" * 900 + "]" * 900 + ", "),
        r"index.json:7: .*",
    ),
    "a number of many digits": (
        lambda t: t.replace('"5": [', f'"5": [{"7" * 5000}, '),
        r"index.json:7: a number of 5000 digits; expected at most 4300$",
    ),
    "nothing in it": (lambda t: "{}", r"index.json: no items in it"),
}


@pytest.mark.parametrize("case", INDEX_CASES)
def test_a_wrong_index_is_named_with_file_line_and_what_was_expected(paths: Paths, case: str) -> None:
    change, message = INDEX_CASES[case]
    edit(paths.index, change)
    with pytest.raises(DataError, match=message):
        files.read(paths)


def test_an_item_without_a_title_is_named_with_file_and_line(paths: Paths) -> None:
    edit(paths.items, lambda t: re.sub(r'"5": \{"title": ".*?"', '"5": {"title": " "', t))
    with pytest.raises(DataError, match=r'item.json:7: item \'5\': expected \{"title": "…"\}, found'):
        files.read(paths)
    edit(paths.items, lambda t: re.sub(r'"5": \{.*?\},\n', "", t))
    with pytest.raises(
        DataError, match=r"index.json:7: item '5' is not in .*item.json; expected its title there"
    ):
        files.read(paths)


def test_a_title_that_is_no_text_is_named_with_file_and_line(paths: Paths) -> None:
    """Half an emoji, which training would take, and no checkpoint."""
    edit(paths.items, lambda t: re.sub(r'"5": \{"title": "', r"\g<0>\\ud83d ", t))
    message = r"item.json:7: item '5': expected a title that is text, without the lone surrogate \\ud83d, f"
    with pytest.raises(DataError, match=message) as raised:
        files.read(paths)
    str(raised.value).encode()  # what is said can be written anywhere
    edit(paths.items, lambda t: t.replace("\\ud83d ", "\\ud83d\\ude00 "))
    assert files.read(paths).catalogue.titles[5].startswith("😀 ")


def test_an_item_is_looked_for_in_its_file_only_when_something_is_wrong(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time to read a catalogue grows with the square of its items."""
    monkeypatch.delattr(files, "_line_of")
    files.read(paths)


def test_an_info_file_that_disagrees_with_the_index_is_named_with_file_and_line(paths: Paths) -> None:
    info, good = str(paths.info), Path(str(paths.info)).read_text()
    lines = good.splitlines(keepends=True)
    for wrong, message in (
        (["no tabs here\n"], r"shop.txt:1: expected SID, title and item id by tabs, found 'no tabs here'"),
        ([*lines[:2], lines[2].replace("\t2\n", "\t99\n")], r"shop.txt:3: item '99' is not in the index"),
        (
            [lines[0].replace("<a_", "<a_9")],
            r"shop.txt:1: item '0' has the SID <a_.* in the index",
        ),
        (lines[:-1], r"shop.txt: 1 items of the index are not in it: '79'"),
    ):
        Path(info).write_text("".join(wrong))
        with pytest.raises(DataError, match=message):
            files.read(paths)


ROW_CASES = {
    "unknown SID": (ITEM_SID, "<a_99><b_0><c_0>", r"unknown SID '<a_99><b_0><c_0>'; the index has 80 others"),
    "unknown SID in the history": (HISTORY_SID, "['<a_0>']", r"unknown SID '<a_0>'"),
    "no list": (HISTORY_SID, "<a_1><b_1>", r"history_item_sid: expected a list as \['…', '…'\], found"),
    "a set of lists": (HISTORY_SID, "{['<a_1>']}", r"history_item_sid: expected a list as"),
    "code for a list": (HISTORY_SID, "__import__('os').getpid()", r"history_item_sid: expected a list"),
    "an empty history": (HISTORY_SID, "[]", r"expected histories of one length, found 0 SIDs, 1 ids and 1"),
    "another id": (
        COLUMNS.index("item_id"),
        "79",
        r"the SID .* is item '\d+' in the index, the row says",
    ),
}


@pytest.mark.parametrize("case", ROW_CASES)
def test_a_wrong_field_is_named_with_file_line_and_what_was_expected(paths: Paths, case: str) -> None:
    column, value, message = ROW_CASES[case]
    edit_row(paths.train, 1, column, value)
    with pytest.raises(DataError, match=rf"train/shop.csv:2: {message}"):
        files.read(paths)


def test_wrong_csv_files_are_named_with_file_and_line(paths: Paths) -> None:
    good = Path(paths.valid).read_text()
    lines = good.splitlines(keepends=True)
    for wrong, message in (
        (good.replace("item_sid\n", "sid\n"), r"valid/shop.csv:1: missing column item_sid; found 'user_id, "),
        (lines[0] + lines[1] + "a,b\n", r"valid/shop.csv:3: expected 7 fields, found 2"),
        (lines[0] + '"torn', r"valid/shop.csv:2: not valid CSV: unexpected end of data"),
        (lines[0], r"valid/shop.csv: no rows in it"),
        ("", r"valid/shop.csv:1: missing columns user_id, history_item_title"),
    ):
        Path(paths.valid).write_text(wrong)
        with pytest.raises(DataError, match=message):
            files.read(paths)


@pytest.mark.parametrize("name", ["train", "valid", "test", "index", "items", "info"])
def test_a_file_that_is_missing_or_no_text_is_named(paths: Paths, name: str) -> None:
    path = Path(getattr(paths, name))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\xff\xfe", 1))
    message = rf"{re.escape(str(path))}:2: cannot be read as UTF-8 text: byte 0xff, invalid start byte"
    with pytest.raises(DataError, match=message):
        files.read(paths)
    path.unlink()
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}: cannot be read: No such file"):
        files.read(paths)


def test_writing_never_overwrites(dataset: Dataset, paths: Paths, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(DataError, match=r"train/shop.csv exists; choose another directory or name"):
        files.write(tmp_path, "shop", dataset)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_the_command_writes_files_that_can_be_read_and_says_how_to_train_on_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--items", "80", "--codes", "8", "--train-users", "4", "--valid-users", "2", "--test-users", "2"]
    assert main([str(tmp_path / "shop"), *small, "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    dataset = files.read(Paths.under(tmp_path / "shop", "shop"))
    assert (len(dataset.catalogue), len(dataset.test)) == (80, 2)
    for path in re.findall(r"--set data\.\w+_file=(\S+)", printed):
        assert Path(path).exists()
    assert main([str(tmp_path / "shop"), *small]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    file = Path(re.findall(r"--set data\.train_file=(\S+)", printed)[0])
    assert main([str(file), *small]) == 2
    assert capsys.readouterr().err == f"error: {file / 'train'}: cannot be written: Not a directory\n"
