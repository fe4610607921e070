"""MiniOneRec's file shapes, read strictly and written: what is wrong is named with file and line.

    train/NAME.csv, valid/…, test/…   one choice a line: COLUMNS, lists as Python literals
    index/NAME.index.json             {"17": ["<a_12>", "<b_3>", "<c_7>"], …}: item id to SID tokens
    index/NAME.item.json              {"17": {"title": "…", …}, …}
    info/NAME.txt                     <a_12><b_3><c_7>⇥title⇥17, an item a line

The folders are where MiniOneRec's scripts look; the readers here take paths. Items are those of the index.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runners.common.errors import DataError
from runners.common.text_files import lone_surrogate, parse_json, read_text
from runners.recommendation.catalogue import LEVELS, Catalogue, Dataset, Interactions

COLUMNS = (
    "user_id",
    "history_item_title",  # list of strings, oldest first
    "item_title",
    "history_item_id",  # list of ids
    "item_id",
    "history_item_sid",  # list of joined SIDs
    "item_sid",
)
_TOKEN = re.compile(r"<\|?([a-z])_\d+\|?>")
_EXAMPLE = '["<a_12>", "<b_3>", "<c_7>"]'


@dataclass(frozen=True)
class Paths:
    """The files of a data set. `info` is checked against the others and otherwise not needed."""

    train: str
    valid: str
    test: str
    index: str
    items: str
    info: str | None = None

    @classmethod
    def under(cls, directory: str | Path, name: str) -> Paths:
        """MiniOneRec's layout, as `write` makes it."""
        d = Path(directory)
        return cls(
            train=str(d / "train" / f"{name}.csv"),
            valid=str(d / "valid" / f"{name}.csv"),
            test=str(d / "test" / f"{name}.csv"),
            index=str(d / "index" / f"{name}.index.json"),
            items=str(d / "index" / f"{name}.item.json"),
            info=str(d / "info" / f"{name}.txt"),
        )


def read(paths: Paths) -> Dataset:
    """The whole data set.

    Raises:
        DataError: a file that is missing or malformed; the message names file and line, what was found and
            what was expected.
    """
    catalogue = read_catalogue(paths.index, paths.items)
    if paths.info is not None:
        check_info(paths.info, catalogue)
    train, valid, test = (read_interactions(p, catalogue) for p in (paths.train, paths.valid, paths.test))
    return Dataset(catalogue, train, valid, test)


def read_catalogue(index_file: str | Path, item_file: str | Path) -> Catalogue:
    """The items of an `*.index.json`, with their titles from an `*.item.json`; in the order of the index.

    Raises:
        DataError: see `read`.
    """
    index_text, index = _json_object(index_file)
    item_text, items = _json_object(item_file)
    taken: dict[tuple[str, ...], str] = {}
    titles = []
    for id, sid in index.items():
        if wrong := _wrong_sid(id, sid):
            raise DataError(f"{index_file}:{_line_of(index_text, id)}: item {id!r}{wrong}")
        if (other := taken.setdefault(tuple(sid), id)) != id:
            raise DataError(
                f"{index_file}:{_line_of(index_text, id)}: item {id!r} has the same SID as item {other!r}: "
                f"{''.join(sid)}"
            )
        if id not in items:
            raise DataError(
                f"{index_file}:{_line_of(index_text, id)}: item {id!r} is not in {item_file}; expected its "
                f"title there"
            )
        title: Any = items[id].get("title") if isinstance(items[id], dict) else None
        if wrong := _wrong_title(title):
            raise DataError(
                f"{item_file}:{_line_of(item_text, id)}: item {id!r}: {wrong}, found {_short(items[id])}"
            )
        titles.append(_one_line(title))
    if not index:
        raise DataError(f"{index_file}: no items in it; expected item ids with their SIDs")
    return Catalogue(tuple(index), tuple(titles), tuple(taken))


def _wrong_sid(id: str, sid: Any) -> str | None:
    """What is wrong with an entry of the index; None: nothing."""
    if half := lone_surrogate(id):
        return f": expected an id that is text, found the lone surrogate {half} in it"
    if not isinstance(sid, list) or not all(isinstance(token, str) for token in sid):
        return f": expected a list of SID tokens as {_EXAMPLE}, found {_short(sid)}"
    if len(sid) != LEVELS:
        return f": expected {LEVELS} SID tokens, found {len(sid)}: {_short(sid)}"
    letters = [match[1] if (match := _TOKEN.fullmatch(token)) else None for token in sid]
    if letters != ["a", "b", "c"]:
        return f": expected SID tokens as {_EXAMPLE}, found {_short(sid)}"
    return None


def _wrong_title(title: Any) -> str | None:
    """What would be right; None: it is."""
    if not isinstance(title, str) or not title.strip():
        return 'expected {"title": "…"}'
    if half := lone_surrogate(title):
        return f"expected a title that is text, without the lone surrogate {half}"
    return None


def check_info(path: str | Path, catalogue: Catalogue) -> None:
    """Whether an info file lists exactly the items of the catalogue, with their SIDs.

    Raises:
        DataError: see `read`.
    """
    listed = set()
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        sid, _, rest = line.partition("\t")
        id = rest.rpartition("\t")[2].strip()
        if line.count("\t") < 2:
            raise DataError(f"{path}:{number}: expected SID, title and item id by tabs, found {_short(line)}")
        if (item := catalogue.by_id.get(id)) is None:
            raise DataError(f"{path}:{number}: item {id!r} is not in the index")
        if catalogue.sid(item) != sid.strip():
            raise DataError(
                f"{path}:{number}: item {id!r} has the SID {catalogue.sid(item)} in the index, here {sid!r}"
            )
        listed.add(item)
    if missing := set(range(len(catalogue))) - listed:
        raise DataError(
            f"{path}: {len(missing)} items of the index are not in it: {catalogue.ids[min(missing)]!r}…"
        )


def read_interactions(path: str | Path, catalogue: Catalogue) -> Interactions:
    """The rows of a train, valid or test CSV.

    Ids and SIDs must name the same items of the catalogue. Titles are those of the catalogue; more columns
    than COLUMNS are ignored.

    Raises:
        DataError: see `read`.
    """
    users, histories, targets = [], [], []
    for number, row in _csv_rows(path):
        where = f"{path}:{number}"
        sids = _literal_list(row["history_item_sid"], f"{where}: history_item_sid")
        ids = _literal_list(row["history_item_id"], f"{where}: history_item_id")
        titles = _literal_list(row["history_item_title"], f"{where}: history_item_title")
        if not len(sids) == len(ids) == len(titles):
            raise DataError(
                f"{where}: expected histories of one length, found {len(sids)} SIDs, {len(ids)} ids and "
                f"{len(titles)} titles"
            )
        if not sids:
            raise DataError(f"{where}: history_item_sid: expected at least one item, found []")
        named = [*zip(sids, ids, strict=True), (row["item_sid"], row["item_id"])]
        items = [_item(catalogue, str(sid), str(id), where) for sid, id in named]
        users.append(row["user_id"])
        histories.append(tuple(items[:-1]))
        targets.append(items[-1])
    if not users:
        raise DataError(f"{path}: no rows in it; expected the columns {', '.join(COLUMNS)} and rows")
    return Interactions(tuple(users), tuple(histories), np.array(targets, np.int64))


def write(directory: str | Path, name: str, dataset: Dataset) -> Paths:
    """Write a data set under a directory in MiniOneRec's layout; what is there is left as it is.

    White space in titles becomes single spaces, as the readers have it.

    Raises:
        DataError: one of the files exists.
    """
    paths, catalogue = Paths.under(directory, name), dataset.catalogue
    titles = [_one_line(title) for title in catalogue.titles]
    for path in (paths.train, paths.valid, paths.test, paths.index, paths.items, str(paths.info)):
        if Path(path).exists():
            raise DataError(f"{path} exists; choose another directory or name")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    index = {id: list(sid) for id, sid in zip(catalogue.ids, catalogue.sids, strict=True)}
    items = {id: {"title": title, "description": ""} for id, title in zip(catalogue.ids, titles, strict=True)}
    Path(paths.index).write_text(_json_lines(index), encoding="utf-8")
    Path(paths.items).write_text(_json_lines(items), encoding="utf-8")
    info = (f"{catalogue.sid(i)}\t{titles[i]}\t{catalogue.ids[i]}\n" for i in range(len(catalogue)))
    Path(str(paths.info)).write_text("".join(info), encoding="utf-8")
    splits = ((paths.train, dataset.train), (paths.valid, dataset.valid), (paths.test, dataset.test))
    for path, rows in splits:
        _write_interactions(path, rows, catalogue, titles)
    return paths


def _write_interactions(path: str, rows: Interactions, catalogue: Catalogue, titles: Sequence[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for user, history, target in zip(rows.users, rows.histories, rows.targets.tolist(), strict=True):
            writer.writerow(
                [
                    user,
                    [titles[i] for i in history],
                    titles[target],
                    [_number(catalogue.ids[i]) for i in history],
                    catalogue.ids[target],
                    [catalogue.sid(i) for i in history],
                    catalogue.sid(target),
                ]
            )


def _one_line(title: str) -> str:
    return " ".join(title.split())


def _number(id: str) -> int | str:
    return int(id) if id.isascii() and id.isdigit() and str(int(id)) == id else id


def _json_lines(content: dict[str, Any]) -> str:
    """A JSON object with one entry a line, so that an error can name it."""
    entries = (
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()
    )
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _item(catalogue: Catalogue, sid: str, id: str, where: str) -> int:
    item = catalogue.by_sid.get(sid.strip())
    if item is None:
        raise DataError(f"{where}: unknown SID {_short(sid)}; the index has {len(catalogue)} others")
    if catalogue.ids[item] != id.strip():
        raise DataError(
            f"{where}: the SID {sid} is item {catalogue.ids[item]!r} in the index, the row says {id!r}"
        )
    return item


def _csv_rows(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by column, each with its line number (its last line, if it has several)."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise DataError(
                f"{path}:1: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
                f"found {_short(', '.join(header), 200)}"
            )
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(f"{path}:{reader.line_num}: expected {len(header)} fields, found {len(row)}")
            yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as e:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV: {e}") from e


def _literal_list(text: str, where: str) -> Sequence[Any]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list as ['…', '…'], found {_short(text)}")
    return value


def _json_object(path: str | Path) -> tuple[str, dict[str, Any]]:
    text = read_text(path)

    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise DataError(f"{path}:{_line_of(text, twice)}: the key {twice!r} is there twice")
        return found

    value = parse_json(text, path, no_repeats)
    if not isinstance(value, dict):
        raise DataError(f"{path}:1: expected a JSON object by item id, found {_short(value)}")
    return text, value


def _line_of(text: str, key: str) -> int:
    """The line on which a key of a JSON object stands; 1 if it is written in an unusual way.

    It looks through the whole text: for what is wrong only, and not for each entry.
    """
    written = "|".join(re.escape(json.dumps(key, ensure_ascii=ascii)) for ascii in (True, False))
    found = re.search(rf"(?:{written})\s*:", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _short(value: Any, limit: int = 80) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = "lists in lists" if isinstance(value, list) else "objects in objects"
    return repr(text if len(text) <= limit else text[:limit] + "…")
