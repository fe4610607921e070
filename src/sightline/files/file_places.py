"""Where files of runs may lie besides the run directory: a folder, or an fsspec URL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sightline.errors import ConfigurationError, RunDirectoryError
from sightline.files.sparse_files import data_from, data_until

BLOCK = 4 << 20  #: bytes that are read at a time


class FilePlace(Protocol):
    """A tree of files; paths are relative, with ``/``.

    Attributes:
        name: for people.
        is_near: reading all of it again costs little.

    Its methods raise :class:`~sightline.errors.RunDirectoryError` where the place cannot be reached.
    """

    name: str
    is_near: bool

    def sizes(self) -> dict[str, int]:
        """All files and their bytes."""
        ...

    def size(self, path: str) -> int | None:
        """The bytes of one file; None if it is not there."""
        ...

    def read(self, path: str, start: int, end: int) -> bytes:
        """The bytes of a file from ``start`` to before ``end``; fewer at its end, none if it is gone."""
        ...

    def data_from(self, path: str, place: int) -> int:
        """The first byte from ``place`` on that is in no hole, as far as that is known without reading."""
        ...

    def data_until(self, path: str, place: int) -> int:
        """Behind the last byte before ``place`` that is in no hole, as far as that is known."""
        ...

    def put(self, path: str, file: Path) -> None:
        """Makes or replaces a file by a copy of a local one, whole or not at all."""
        ...


class FolderPlace:
    """A folder of a file system. Links in it are not followed."""

    is_near = True

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.folder = folder

    def sizes(self) -> dict[str, int]:
        found = {}
        if not self.folder.is_dir():
            raise RunDirectoryError(
                f"{self.name} is no directory: expected one with a run's files, or an fsspec URL, as in "
                f"gs://bucket/runs/grpo"
            )
        with _said_by(self.name):
            for where, _, names in os.walk(self.folder, onerror=_raise):
                for name in names:
                    path = Path(where, name)
                    try:
                        if path.is_file() and not path.is_symlink():
                            found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
                    except FileNotFoundError:  # renamed or deleted meanwhile
                        continue
        return found

    def size(self, path: str) -> int | None:
        with _said_by(f"{self.name}/{path}"):
            try:
                return (self.folder / path).stat().st_size
            except FileNotFoundError:
                return None

    def read(self, path: str, start: int, end: int) -> bytes:
        with _said_by(f"{self.name}/{path}"):
            try:
                with open(self.folder / path, "rb") as file:
                    file.seek(start)
                    return file.read(end - start)
            except FileNotFoundError:
                return b""

    def data_from(self, path: str, place: int) -> int:
        return self._past_hole(data_from, path, place)

    def data_until(self, path: str, place: int) -> int:
        return self._past_hole(data_until, path, place)

    def _past_hole(self, way: Callable[[int, int], int], path: str, place: int) -> int:
        with _said_by(f"{self.name}/{path}"):
            try:
                with open(self.folder / path, "rb", 0) as file:
                    return way(file.fileno(), place)
            except FileNotFoundError:
                return place

    def put(self, path: str, file: Path) -> None:
        target = self.folder / path
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        with _said_by(str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(file, "rb") as source, open(part, "wb") as copy:
                    while data := source.read(BLOCK):
                        copy.write(data)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)


class UrlPlace:
    """A place that fsspec knows."""

    is_near = False

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ConfigurationError(f"{url} needs fsspec: {_install(url)}") from None
        self.name = url.rstrip("/")
        try:
            self._fs, self._root = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise ConfigurationError(f"{url} needs another package: {error}: {_install(url)}") from None
        except Exception as error:
            raise ConfigurationError(
                f"{url}: {error}: expected a folder, or a URL that fsspec knows, as in gs://bucket/runs/grpo"
            ) from error
        self._root = str(self._root).rstrip("/")

    def sizes(self) -> dict[str, int]:
        with _said_by(self.name):
            found: dict[str, dict[str, Any]] = self._fs.find(self._root, detail=True)
        return {
            path[len(self._root) :].lstrip("/"): int(facts["size"] or 0)
            for path, facts in found.items()
            if facts.get("type") == "file"
        }

    def size(self, path: str) -> int | None:
        with _said_by(f"{self.name}/{path}"):
            try:
                return int(self._fs.info(f"{self._root}/{path}")["size"] or 0)
            except FileNotFoundError:
                return None

    def read(self, path: str, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        with _said_by(f"{self.name}/{path}"):
            try:
                return bytes(self._fs.cat_file(f"{self._root}/{path}", start=start, end=end))
            except FileNotFoundError:
                return b""

    def data_from(self, path: str, place: int) -> int:
        return place

    def data_until(self, path: str, place: int) -> int:
        return place

    def put(self, path: str, file: Path) -> None:
        target = f"{self._root}/{path}"
        with _said_by(f"{self.name}/{path}"):
            self._fs.put_file(str(file), target)


def open_place(where: str | os.PathLike[str]) -> FolderPlace | UrlPlace:
    """A folder, or what a URL names.

    Raises:
        ConfigurationError: a URL whose kind nobody here knows; it says what to install.

    Example:
        >>> open_place("runs/grpo").name
        'runs/grpo'
    """
    text = os.fspath(where)
    if "://" not in text or text.startswith("file://"):
        return FolderPlace(Path(text.removeprefix("file://")))
    return UrlPlace(text)


def _install(url: str) -> str:
    kind = url.partition("://")[0]
    package = {
        "gs": "gcsfs",
        "gcs": "gcsfs",
        "s3": "s3fs",
        "s3a": "s3fs",
        "az": "adlfs",
        "abfs": "adlfs",
    }.get(kind)
    return f"pip install 'sightline[collect]'{f' {package}' if package else ''}"


@contextmanager
def _said_by(where: str) -> Iterator[None]:
    """Back ends raise whatever they like."""
    try:
        yield
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{where} is not there") from error
    except Exception as error:
        raise RunDirectoryError(f"{where} cannot be reached: {type(error).__name__}: {error}") from error


def _raise(error: OSError) -> None:
    raise error
