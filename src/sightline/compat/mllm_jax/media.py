"""What stands for W&B's media: classes that callers build and ask for, and the text that each becomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sightline.compat.mllm_jax.saying import say_once


class Nothing:
    """Takes every call, attribute and item, and does nothing."""

    def __call__(self, *_: Any, **__: Any) -> Nothing:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __getitem__(self, _: Any) -> Nothing:
        return Nothing()

    def __len__(self) -> int:
        return 0

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False


class Media(Nothing):
    """A picture, film or other thing that a journal does not hold; logged as the text that describes it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments = arguments
        self.caption = options.get("caption")

    def describe(self) -> str:
        """``Image (64, 64, 3): a cat``."""
        first = self.arguments[0] if self.arguments else ""
        found = first if isinstance(first, str) else getattr(first, "shape", getattr(first, "size", ""))
        caption = "" if self.caption is None else f": {self.caption}"
        return f"{type(self).__name__} {found}".rstrip() + caption

    def __str__(self) -> str:
        return self.describe()

    def __bool__(self) -> bool:
        return True


class Audio(Media):
    """A sound."""


class Html(Media):
    """A page."""


class Image(Media):
    """A picture."""


class Molecule(Media):
    """A molecule."""


class Object3D(Media):
    """A cloud of points."""


class Plotly(Media):
    """A chart of plotly."""


class Video(Media):
    """A film."""


class Histogram(Media):
    """Values, logged by their statistics as a list of them is; bins that were counted already, as a text.

    Attributes:
        values: None where there are only bins.
    """

    def __init__(self, sequence: Any = None, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.values = sequence


class Table(Media):
    """Rows under columns, as far as callers build them; logged as how many there are."""

    def __init__(self, columns: Any = None, data: Any = None, rows: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.columns: list[Any] = []
        self.data: list[list[Any]] = []
        try:
            frame = options.get("dataframe")
            if frame is not None:
                columns, data = frame.columns, frame.to_numpy().tolist()
            self.columns = list(("Input", "Output", "Expected") if columns is None else columns)
            given = data if data is not None else rows if rows is not None else ()
            self.data = [list(row) for row in given]
        except Exception as error:  # noqa: BLE001 - into training
            say_once("table", "wandb.Table: not all of it is understood: %s", error)

    def add_data(self, *row: Any) -> None:
        """One row more."""
        self.data.append(list(row))

    def add_column(self, name: Any, data: Any) -> None:
        """One column more."""
        values = list(data)
        self.data = self.data or [[] for _ in values]
        self.columns.append(name)
        for row, value in zip(self.data, values, strict=False):
            row.append(value)

    def by_column(self) -> dict[str, list[Any]]:
        """The rows' values under each column; None where a row is too short."""
        return {
            str(name): [row[at] if at < len(row) else None for row in self.data]
            for at, name in enumerate(self.columns)
        }

    def describe(self) -> str:
        """``Table of 12 rows: prompt, reward``."""
        return f"Table of {len(self.data)} rows: {', '.join(map(str, self.columns))}"
