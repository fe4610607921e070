"""The keys of a process: each has one reduction, and none is another's folder."""

from __future__ import annotations

import os
import sys
from typing import Any

from sightline.errors import RecordError
from sightline.values import naming
from sightline.values.host_values import checked_key
from sightline.values.key_specs import EMITS, Spec

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


class KeyRegistry:
    """What each key is recorded as, from its first recording on. Guarded by the trackers' lock.

    Attributes:
        specs: by key; under ``key + "\\0" + kind`` stands what is kept beside it, as a process's own mean.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begins anew; whoever holds ``specs`` or ``calls`` of before keeps them as they were."""
        self.specs: dict[str, Spec] = {}
        #: Full names of what has been declared, by the recording call's arguments: the short way of a call
        #: that is repeated.
        self.calls: dict[tuple[Any, ...], Any] = {}
        self._names: dict[str, Spec] = {}  # exported name -> who exports it
        self._folders: dict[str, Spec] = {}  # folder of an exported name -> one who exports below it

    def declare(
        self,
        scope: str,
        key: str,
        kind: str,
        *,
        emit: tuple[str, ...] = (),
        quantiles: tuple[float, ...] = (),
        over: str = "",
        replicated: bool = False,
        bins: int = 0,
        call: str = "",
        site: tuple[str, int] | None = None,
    ) -> None:
        """Makes sure that a key is recorded with one reduction, the one it has had from the start.

        Args:
            call: the recording call, for messages.
            site: file and line of it; None: the innermost caller outside this package.
        """
        full = f"{scope}/{key}" if scope else key
        known = self.specs.get(full)
        if known is not None and known.kind == kind:
            if kind == "scalar":
                return
            if known[4:] == (emit, quantiles, over, replicated, bins):
                return
        if known is not None:
            new = Spec(full, kind, *(site or call_site()), emit, quantiles, over, replicated, bins)
            raise RecordError(
                f"{full!r} has two reductions: {known.described} at {known.site}, and now {new.described} at "
                f"{new.site}. One key has one reduction; rename one of them"
            )
        checked_key(key)
        if f"{full}/".startswith(naming.RESERVED):
            raise RecordError(
                f"{full!r}: keys under {naming.RESERVED!r} are sightline's own; choose another name"
            )
        unknown = [name for name in emit if name not in EMITS]
        if unknown or (kind == "summary" and not emit and not quantiles and not bins):
            raise RecordError(
                f"{call}({full!r}): emit={emit!r}; expected some of {', '.join(EMITS)}"
                + (f", and {unknown[0]!r} is none" if unknown else "")
            )
        self._register(Spec(full, kind, *(site or call_site()), emit, quantiles, over, replicated, bins))

    def _register(self, spec: Spec) -> None:
        names = spec.exported()
        for name in names:
            folders = [f for f in naming.ancestors(name) if f in self._names]
            other = (
                self._names.get(name)
                or self._folders.get(name)
                or (self._names[folders[0]] if folders else None)
            )
            if other is not None and other[:2] != spec[:2]:  # itself, if a signal handler was faster
                raise RecordError(
                    f"{spec.call} {spec.key!r} at {spec.site} exports {name!r}, which cannot stand beside "
                    f"what {other.call} {other.key!r} at {other.site} exports: no key may be another, or a "
                    f"folder of another. Rename one of them"
                )
        for name in names:
            self._names[name] = spec
            self._folders.update(dict.fromkeys(naming.ancestors(name), spec))
        self.specs[spec.key] = spec

    def keep_beside(self, full: str, kind: str, where: str = "") -> str:
        """Something is kept beside what a key is recorded as; returns the name that it is kept under.

        Args:
            where: tells apart what is kept for several places.
        """
        name = f"{full}\0{kind}\0{where}" if where else f"{full}\0{kind}"
        if name not in self.specs:
            self.specs[name] = self.specs[full]._replace(kind=kind, over=where)
        return name


def call_site() -> tuple[str, int]:
    """File and line of the innermost caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    name = frame.f_code.co_filename
    try:
        return name.removeprefix(os.getcwd() + os.sep), frame.f_lineno
    except FileNotFoundError:  # the working directory has been deleted
        return name, frame.f_lineno
