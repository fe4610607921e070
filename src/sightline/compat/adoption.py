"""Writing thin files into somebody's checkout: all or none, and never unasked over what is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import ConfigurationError


@dataclass(frozen=True)
class Adoption:
    """What would be written into a checkout.

    Attributes:
        root: the checkout.
        files: path below it -> text.
    """

    root: Path
    files: Mapping[str, str]

    def there(self) -> list[str]:
        """The files that exist and hold something else."""
        return [name for name in self.files if self._holds(name) not in (None, self.files[name])]

    def done(self) -> list[str]:
        """The files that are there already, as they would be written."""
        return [name for name, text in self.files.items() if self._holds(name) == text]

    def write(self, *, replace: bool = False) -> list[str]:
        """Writes what is not done, each file at once or not at all; returns which.

        All are written under other names beside their places first, and then renamed, so that a full disk
        leaves the checkout as it was.

        Args:
            replace: over files that hold something else.

        Raises:
            ConfigurationError: such files, without ``replace``; a folder where a file belongs.
            OSError: of the file system.
        """
        there = self.there()
        if there and not replace:
            raise ConfigurationError(
                f"{len(there)} of the files exist in {self.root} and hold something else: {', '.join(there)}"
            )
        for name in there:
            if (self.root / name).is_dir():
                raise ConfigurationError(f"{self.root / name} is a folder; expected a file or nothing")
        done = self.done()
        names = [name for name in self.files if name not in done]
        parts: dict[Path, Path] = {}
        try:
            for name in names:
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                part = parts[path] = path.with_name(f".{path.name}.{os.getpid()}.part")
                part.write_text(self.files[name], encoding="utf-8")
            for path, part in parts.items():
                os.replace(part, path)
        finally:
            for part in parts.values():
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
        return names

    def _holds(self, name: str) -> str | None:
        path = self.root / name
        if path.is_dir() or (not path.exists() and path.is_symlink()):
            return ""  # in the way
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
