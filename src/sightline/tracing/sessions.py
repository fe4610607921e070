"""A session and its phases, as they are recorded: readings of the clock and appends.

What a session needs of the tracer that it belongs to is a :class:`Tracer`.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, cast, get_args

from sightline.errors import RecordError
from sightline.recording.step import active_step
from sightline.support.async_with import AsyncWith
from sightline.support.decorating import around_life
from sightline.support.given_numbers import NOT_YET, number, whole
from sightline.tracing.event_values import bounded, plain
from sightline.tracing.session_values import (
    LONGEST_NAME,
    checked_amount,
    checked_name,
    checked_reason,
    checked_task,
    checked_version,
)
from sightline.tracing.spans import described

F = TypeVar("F", bound=Callable[..., Any])
Status = Literal["pending", "accepted", "rejected", "failed", "dropped"]
STATUSES: tuple[Status, ...] = get_args(Status)
UNSAID = "left without a status"  #: the reason of a session whose block has ended without a word

_PHASES = 4096  # of a session
_NAMES = 100  # payloads, and counters, of a session
_RETRIES = 1000
_PAYLOAD_BYTES = 64 << 10  # of a session, as JSON


class Tracer(Protocol):
    """What sessions need of the tracer that has made them."""

    _lock: threading.RLock
    _current: ContextVar[Session | None]

    @property
    def enabled(self) -> bool: ...
    def current_session(self) -> Session | None: ...
    def _opened(self, session: Session) -> None: ...
    def _closed(self, session: Session) -> None: ...
    def _ended_or_changed(self, session: Session) -> None: ...
    def _restore(self, session: Session, token: Token[Session | None]) -> None: ...
    def _conflict(self, session: Session, later: str) -> None: ...
    def _unsaid(self, session: Session) -> None: ...


class Phase(AsyncWith):
    """One span of a phase: what ``session.phase(name)`` gives, for one ``with`` or ``async with``.

    Spans of one phase may overlap, in several tasks or threads: each has its own beginning and end.

    Attributes:
        name: of the phase.
        start, end: on ``perf_counter_ns``; 0 while they have not come.
        args: what helps to read it.
        error: the exception that has ended it.
    """

    __slots__ = ("_session", "args", "end", "error", "name", "start")

    def __init__(self, session: Session | None, name: str, args: dict[str, Any]) -> None:
        self._session = session
        self.name = name
        self.args = args
        self.start = self.end = 0
        self.error: str | None = None

    def __enter__(self) -> Self:
        if self.start:
            raise RecordError(f"phase {self.name!r} has begun already; make another with session.phase(…)")
        self.start = perf_counter_ns()
        if self._session is not None:
            self._session._add_phase(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end = perf_counter_ns()
        if self._session is not None:
            if kind is not None:
                self.error = described(kind, error)
            self._session._changed()

    def set(self, /, **args: Any) -> None:
        """Adds arguments, as a count that is known at the end."""
        self.args = {**self.args, **args}
        if self._session is not None:
            self._session._changed()


class CurrentPhase(Phase):
    """A phase of whichever session is the current one when it begins; also a decorator."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: Tracer, name: str, args: dict[str, Any]) -> None:
        super().__init__(None, name, args)
        self._tracer = tracer

    def __enter__(self) -> Self:
        self._session = self._tracer.current_session()
        return super().__enter__()

    def __call__(self, function: F) -> F:
        if not self._tracer.enabled:
            return function

        @contextmanager
        def enter(args: Any, kwargs: Any) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
            with CurrentPhase(self._tracer, self.name, self.args):
                yield nullcontext

        return around_life(function, enter)


class Session(AsyncWith):
    """One session, or a part of one; made by ``sl.session`` and ``sl.resume_session``.

    ``with`` and ``async with`` begin it, make it the current one within the block, and end it. Without a
    block there are :meth:`begin` and :meth:`finish`. It may be used from any thread. What happens to it after
    its end (a phase in another task that takes longer, say) still reaches the file.

    *Status*: ``accept``, ``reject``, ``fail`` and ``drop`` say what became of it. The first one stays: a
    different one later is counted (``obs/session_conflicts``), logged once, and not taken. If nobody has said
    anything when the block ends, it becomes

    - ``failed`` by an exception, with the exception as the reason; ``dropped`` by one that only ends things:
      ``"cancelled"`` (a cancelled task), ``"closed"`` (a generator that is not read on), ``"interrupted"``
      (Ctrl-C, ``sys.exit``);
    - nothing, if it has given out a :meth:`carrier`, or was resumed from one: somebody else finishes it;
    - else what ``otherwise`` says, which is ``dropped`` unless told: nobody has said that the sample is used.

    Attributes:
        part: the id of this part; that of the first part is the session's.
        status: ``"pending"``, or the final one.
        reason: why, for the status.
        policy_version: the policy's version when it began; while a device has yet to compute it, its array.
        end_version: that when it ended; the same.
        start, end, decided: beginning and end of this part, and when the status was said, on
            ``perf_counter_ns``; 0 while that has not come.
        phases: in the order of their beginnings.
        counters: what :meth:`count` has counted here.
        retries: when another try began, on ``perf_counter_ns``, and why.
        step: the active step when it began.
        error: the exception that has left the block.
        lost: how many phases, payloads, counters and retries were too many to be kept, and how many counters
            and versions a device had not computed by the end.
    """

    __slots__ = (
        "__weakref__", "_carried", "_given", "_id", "_in_block", "_notes", "_outer", "_task", "_token",
        "_tracer", "closed", "counted", "counters", "decided", "end", "end_version", "error", "kept", "lost",
        "number", "origin", "otherwise", "part", "payload", "payload_bytes", "phases", "policy_version",
        "raw_amounts", "raw_payload", "reason", "retries", "start", "start_there", "started_ns", "status",
        "step", "version",
    )  # fmt: skip

    def __init__(
        self,
        tracer: Tracer,
        task: Any = None,
        policy_version: Any = None,
        otherwise: Status = "dropped",
        payload: dict[str, Any] | None = None,
    ) -> None:
        self._tracer = tracer
        self._task = task
        self._id: str | None = None  # of a part: that of the session
        self._given = payload
        self._carried = False
        self._in_block = False  # whose end it waits for
        self._outer: Session | None = None
        self._token: Token[Session | None] | None = None
        self._notes = 0
        self.otherwise = otherwise
        self.policy_version = policy_version
        self.end_version: Any = None
        self.number = 0
        self.part = ""
        self.start = self.end = self.decided = 0
        self.origin = 0  # where the session began, on this process's clock
        # Of a part: when the session began, since the epoch, and on the clock of the process where it did.
        self.started_ns: int | None = None
        self.start_there: Any = None
        self.step: int | None = None
        self.status: Status = "pending"
        self.reason: str | None = None
        self.error: str | None = None
        self.phases: list[Phase] = []
        self.counters: dict[str, int | float] = {}
        self.retries: list[tuple[int, str | None]] = []
        self.raw_amounts: list[tuple[str, Any]] | None = None  # that devices have yet to compute
        self.raw_payload: list[tuple[str, Any]] = []  # until it is settled
        self.payload: dict[str, Any] = {}  # as plain data
        self.payload_bytes = 0
        self.lost: dict[str, int] = {}
        self.version = 0  # changes with each change
        self.closed = False
        self.kept = True  # False for one too many
        self.counted = 0  # what of it is in the metrics, for session_metrics

    # --- what it is ----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's, the same for all its parts, and no other's in any process or run."""
        return self._id or self.part

    @property
    def task(self) -> Any:
        """What it tries: an int or a string; its own id if none was given."""
        return self.id if self._task is None else self._task

    @property
    def staleness(self) -> int | None:
        """How many versions the policy went on meanwhile; None while either is unknown."""
        self._ask_devices()
        if self.policy_version.__class__ is not int or self.end_version.__class__ is not int:
            return None
        return int(self.end_version - self.policy_version)

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.status}>" if self.start else "<Session, not begun>"

    # --- beginning and end ---------------------------------------------------------------------------------

    def begin(self) -> Self:
        """Begins it, where a block will not do; :meth:`finish` ends it, and so does saying the status.

        Raises:
            RecordError: it has begun already.
        """
        if self.start:
            raise RecordError(f"{self!r} has begun already; make another with sl.session(…)")
        self._task = checked_task(self._task)
        self.policy_version = checked_version(self.policy_version)
        self.number = next(_numbers)
        self.part = f"{_process_id}-{self.number:x}"
        self.step = active_step()
        if self._given:
            self.note(**self._given)
            self._given = None
        self.start = perf_counter_ns()
        self.origin = self.origin or self.start
        self._tracer._opened(self)
        return self

    def finish(self) -> None:
        """Ends it as the end of a block does; again and again if you like.

        Raises:
            RecordError: it has not begun.
        """
        self._must_have_begun("finish")
        self._finish(None, None)

    def __enter__(self) -> Self:
        if not self.start:
            self.begin()
        elif self.closed or self._in_block:
            raise RecordError(f"{self!r} {'has ended' if self.closed else 'is open'}: a session is one block")
        self._in_block = True
        self._outer = self._tracer._current.get()
        self._token = self._tracer._current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            self._tracer._restore(self, token)
        self._finish(kind, error)

    def __call__(self, function: F) -> F:
        if self.start:
            raise RecordError(f"{self!r} has begun; a decorator is @sl.session(…)")
        if not self._tracer.enabled:
            return function

        @contextmanager
        def enter(args: Any, kwargs: Any) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
            session = self._like(args, kwargs).begin()
            session._in_block = True
            try:
                yield session._active
            except BaseException as error:
                session._finish(type(error), error)
                raise
            session._finish(None, None)

        return around_life(function, enter)

    # --- what happens in it --------------------------------------------------------------------------------

    def phase(self, name: str, /, **args: Any) -> Phase:
        """A span of a phase, such as ``"generate"``, ``"reward"`` or ``"toolcall"``; any name, one of few.

        Args:
            name: of the phase.
            args: what helps to read it; they are turned into text later on.

        Example:
            >>> from sightline import SessionTracer
            >>> tracer = SessionTracer()
            >>> with tracer.session(task="gsm8k/17") as session:
            ...     with session.phase("generate", turn=1) as phase:
            ...         phase.set(tokens=12)
            ...     session.accept()
            >>> [phase.name for phase in session.phases], session.status
            (['generate'], 'accepted')
        """
        if name.__class__ is not str:
            name = checked_name(name)
        return Phase(self, name, args)

    def count(self, /, **amounts: float) -> None:
        """Adds amounts to counters, as in ``session.count(tokens=12, turns=1)``.

        An amount on a device does not wait: it is added when it is there, if that is by the session's end.

        Raises:
            RecordError: an amount is no number; in that case none is added.
        """
        numbers = {name: checked_amount(name, amount) for name, amount in amounts.items()}
        with self._tracer._lock:
            for name, amount in numbers.items():
                self._add_amount(name, amounts[name] if amount is NOT_YET else amount)
        self._changed()

    def note(self, /, **payload: Any) -> None:
        """Adds to the payload: anything, made plain data and cut within a fraction of a second.

        Until then it must not change. A name that is noted again has its later value.
        """
        for name, value in payload.items():
            if self._notes >= _NAMES:
                self._lose("payloads")
            else:
                self._notes += 1
                self.raw_payload.append((name, value))
        self._changed()

    def settle(self, *, last: bool = False) -> None:
        """Makes plain data of what has been noted, and lets the objects go.

        Args:
            last: what devices have not computed by now is counted as lost.
        """
        self._ask_devices(last=last)
        while self.raw_payload:
            try:
                name, value = self.raw_payload.pop(0)
            except IndexError:  # another thread has taken the last one
                return
            shown, size = bounded(value, max(0, _PAYLOAD_BYTES - self.payload_bytes))
            self.payload_bytes += size
            self.payload |= dict.fromkeys(plain({name[:LONGEST_NAME]: None}), shown)

    def retry(self, reason: Any = None) -> None:
        """Begins another try of the same task in this session; what the earlier ones did is kept.

        Args:
            reason: why the last one did not do.

        Raises:
            RecordError: it has not begun.
        """
        self._must_have_begun("retry")
        if self.status != "pending":
            self._tracer._conflict(self, "retry")
        elif len(self.retries) >= _RETRIES:
            self._lose("retries")
        else:
            self.retries.append((perf_counter_ns(), checked_reason(reason)))
        self._changed()

    def finish_version(self, version: int) -> None:
        """Says the policy's version by now, where the sample is used; see :attr:`staleness`.

        Raises:
            RecordError: it is no int, as ``3``, ``np.int64(3)``, ``3.0`` or ``jnp.int32(3)``.
        """
        self.end_version = checked_version(version)
        self._changed()

    # --- what became of it ---------------------------------------------------------------------------------

    def accept(self, reason: Any = None) -> None:
        """The sample is used."""
        self._decide("accepted", reason)

    def reject(self, reason: Any = None) -> None:
        """It is complete, and not used: a filter, a reward without variance."""
        self._decide("rejected", reason)

    def fail(self, reason: Any = None) -> None:
        """An error has ended it."""
        self._decide("failed", reason)

    def drop(self, reason: Any = None) -> None:
        """It was given up: too old, cancelled, not needed any more."""
        self._decide("dropped", reason)

    def carrier(self) -> dict[str, Any]:
        """A small dict of ints and strings that travels with the sample, for ``sl.resume_session``.

        From now on this part may end without a status.

        Raises:
            RecordError: it has not begun.
        """
        self._must_have_begun("carrier")
        self._carried = True
        started = self.started_ns
        if started is None:
            started = time.time_ns() - (perf_counter_ns() - self.start)
        start = self.start if self._id is None else self.start_there
        made = {"session": self.id, "task": self.task, "start": start, "started_ns": started}
        self._ask_devices()
        if self.policy_version.__class__ is int:
            made["policy_version"] = self.policy_version
        return made

    # --- inside --------------------------------------------------------------------------------------------

    def _like(self, args: Any, kwargs: Any) -> Session:
        """Another one, for a call of a decorated function."""
        task, version = self._task, self.policy_version
        return Session(
            self._tracer,
            task(*args, **kwargs) if callable(task) else task,
            version(*args, **kwargs) if callable(version) else version,
            self.otherwise,
            self._given,
        )

    @contextmanager
    def _active(self) -> Iterator[None]:
        """It is the current one within; its end is somebody else's."""
        self._outer = self._tracer._current.get()
        token = self._tracer._current.set(self)
        try:
            yield
        finally:
            self._tracer._restore(self, token)

    def _must_have_begun(self, what: str) -> None:
        if not self.start:
            raise RecordError(f"{what} of a session that has not begun; use it with `with`, or call begin()")

    def _add_phase(self, phase: Phase) -> None:
        if not self.start:
            self._must_have_begun(f"phase {phase.name!r}")
        if len(self.phases) < _PHASES:
            self.phases.append(phase)
        else:
            self._lose("phases")
        self._changed()

    def _add_amount(self, name: str, amount: Any) -> None:
        if amount.__class__ not in (int, float):
            self.raw_amounts = self.raw_amounts or []
            if len(self.raw_amounts) < _NAMES:
                self.raw_amounts.append((name, amount))
            else:
                self._lose("counters")
        elif name in self.counters or len(self.counters) < _NAMES:
            self.counters[name] = self.counters.get(name, 0) + amount
        else:
            self._lose("counters")

    def _ask_devices(self, *, last: bool = False) -> None:
        """Takes in the numbers that devices have computed by now."""
        for name in ("policy_version", "end_version"):
            given = getattr(self, name)
            if given is None or given.__class__ is int or not self.start:
                continue
            found = whole(given)
            if found is None or (last and found is NOT_YET):
                self._lose("versions")
                found = None
            if found is not NOT_YET and getattr(self, name) is given:  # else another one has been said since
                setattr(self, name, found)
        if self.raw_amounts:
            with self._tracer._lock:
                waiting, self.raw_amounts = self.raw_amounts, None
                for name, given in waiting or ():
                    found = number(given)
                    if found is None or (last and found is NOT_YET):
                        self._lose("counters")
                    else:
                        self._add_amount(name, given if found is NOT_YET else found)

    def _lose(self, what: str) -> None:
        with self._tracer._lock:
            self.lost[what] = self.lost.get(what, 0) + 1

    def _changed(self) -> None:
        self.version += 1  # after the change itself, which whoever reads the number then sees
        if self.closed:
            self._tracer._ended_or_changed(self)

    def _decide(self, status: Status, reason: Any) -> None:
        self._must_have_begun(status)
        now = perf_counter_ns()
        reason = checked_reason(reason)
        with self._tracer._lock:
            if self.status == "pending":
                self.reason, self.decided = reason, now
                self.status = status
            elif self.status == status:
                self.reason = self.reason or reason
        if self.status != status:
            self._tracer._conflict(self, status)  # which logs, and so must not hold the lock
        if not self._in_block and not self.closed and self.status == status:
            self._finish(None, None)
        else:
            self._changed()

    def _finish(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        now = perf_counter_ns()
        with self._tracer._lock:
            if self.closed:
                return
            if kind is not None:
                self.error = described(kind, error)
            if self.status == "pending":
                if kind is not None:
                    self.reason, status = _verdict(kind, self.error)
                elif self._carried:
                    status = "pending"
                else:
                    status = self.otherwise
                    self.reason = UNSAID if status == "dropped" else None
                if status != "pending":
                    self.decided = now
                self.status = status
            self.end = now
            self.closed = True
        self._tracer._closed(self)
        if self.reason is UNSAID:
            self._tracer._unsaid(self)


class OffSession(Session):
    """What ``sl.session`` gives when sessions are off: one object for all, which does nothing."""

    __slots__ = ()

    @property
    def id(self) -> str:
        return ""

    def begin(self) -> Self:
        return self

    def finish(self) -> None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, function: F) -> F:
        return function

    def phase(self, name: str, /, **args: Any) -> Phase:
        return OFF_PHASE

    def count(self, /, **amounts: float) -> None:
        for name, amount in amounts.items():  # what is an error is one also where nothing is recorded
            checked_amount(name, amount)

    def note(self, /, **payload: Any) -> None:
        return None

    def retry(self, reason: Any = None) -> None:
        return None

    def finish_version(self, version: int) -> None:
        checked_version(version)

    def carrier(self) -> dict[str, Any]:
        return {}

    def _decide(self, status: Status, reason: Any) -> None:
        return None


class DisabledSession(OffSession):
    """What it gives under ``SIGHTLINE_DISABLED=1``, where no call of this package does anything."""

    __slots__ = ()

    def count(self, /, **amounts: float) -> None:
        return None

    def finish_version(self, version: int) -> None:
        return None


class OffPhase(CurrentPhase):
    """What ``phase`` gives then, and ``sl.session_phase`` too."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, /, **args: Any) -> None:
        return None

    def __call__(self, function: F) -> F:
        return function


def _verdict(kind: type[BaseException], error: str | None) -> tuple[str | None, Status]:
    """What a session becomes by an exception, and why."""
    if kind.__name__ in ("CancelledError", "Cancelled"):  # asyncio's, trio's, that of futures
        return "cancelled", "dropped"
    if issubclass(kind, GeneratorExit):
        return "closed", "dropped"
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return "interrupted", "dropped"
    return error, "failed"


def process_id() -> str:
    """What the ids of all parts of this process begin with; another one in a forked child."""
    return _process_id


def _renew_process_id() -> None:
    global _process_id
    _process_id = os.urandom(8).hex()


_numbers = itertools.count(1)
_process_id = os.urandom(8).hex()
os.register_at_fork(after_in_child=_renew_process_id)

OFF_PHASE = OffPhase(cast(Tracer, None), "", {})
OFF_SESSION = OffSession(cast(Tracer, None))
DISABLED_SESSION = DisabledSession(cast(Tracer, None))
