"""Rollout sessions: one try at one task, from its submission to what became of it, phase by phase.

A session may go on in other threads and processes: :meth:`Session.carrier` travels with the sample, and
:meth:`SessionTracer.resume_session` goes on there. Each of these is a *part* of the session; who reads the
files (:mod:`sightline.session_files`) joins the parts by the session's id.

Recording is readings of the clock and appends. :mod:`sightline.session_writer` does the rest, on a thread of
its own. Times are ``time.perf_counter_ns``, the clock of the spans.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Literal, Self, TypeGuard, TypeVar, get_args

import numpy as np

from sightline.decorating import around_life
from sightline.errors import RecordError
from sightline.event_values import bounded, plain
from sightline.perf_tracer import described
from sightline.step import active_step

log = logging.getLogger("sightline")

F = TypeVar("F", bound=Callable[..., Any])
Status = Literal["pending", "accepted", "rejected", "failed", "dropped"]
STATUSES: tuple[Status, ...] = get_args(Status)
UNSAID = "left without a status"  #: the reason of a session whose block has ended without a word

_BEFORE = 1024  # ended sessions that are kept while nobody writes
_ENDED = 100_000  # that wait to be written; new ones are dropped beyond
_OPEN = 50_000  # in flight at once; those beyond are not recorded
_PHASES = 4096  # of a session
_NAMES = 100  # payloads, and counters, of a session
_RETRIES = 1000
_PAYLOAD_BYTES = 64 << 10  # of a session, as JSON
_REASON = 1000  # characters
_NAME = 200


class Phase:
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

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def set(self, /, **args: Any) -> None:
        """Adds arguments, as a count that is known at the end."""
        self.args = {**self.args, **args}
        if self._session is not None:
            self._session._changed()


class CurrentPhase(Phase):
    """A phase of whichever session is the current one when it begins; also a decorator."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: SessionTracer, name: str, args: dict[str, Any]) -> None:
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


class Session:
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
        policy_version: the policy's version when it began.
        end_version: that when it ended.
        start, end, decided: beginning and end of this part, and when the status was said, on
            ``perf_counter_ns``; 0 while that has not come.
        phases: in the order of their beginnings.
        counters: what :meth:`count` has counted here.
        retries: when another try began, on ``perf_counter_ns``, and why.
        step: the active step when it began.
        error: the exception that has left the block.
        lost: how many phases, payloads, counters and retries were too many to be kept.
    """

    __slots__ = (
        "__weakref__", "_carried", "_given", "_id", "_in_block", "_notes", "_outer", "_task", "_token",
        "_tracer", "closed", "counted", "counters", "decided", "end", "end_version", "error", "kept", "lost",
        "number", "origin", "otherwise", "part", "payload", "payload_bytes", "phases", "policy_version",
        "raw_payload", "reason", "retries", "start", "start_there", "started_ns", "status", "step", "version",
    )  # fmt: skip

    def __init__(
        self,
        tracer: SessionTracer,
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
        self.end_version: int | None = None
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
        if self.policy_version is None or self.end_version is None:
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
        self._task = _checked_task(self._task)
        self.policy_version = _checked_version(self.policy_version)
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

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

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
            >>> tracer = SessionTracer()
            >>> with tracer.session(task="gsm8k/17") as session:
            ...     with session.phase("generate", turn=1) as phase:
            ...         phase.set(tokens=12)
            ...     session.accept()
            >>> [phase.name for phase in session.phases], session.status
            (['generate'], 'accepted')
        """
        if name.__class__ is not str:
            name = _checked_name(name)
        return Phase(self, name, args)

    def count(self, /, **amounts: float) -> None:
        """Adds amounts to counters, as in ``session.count(tokens=12, turns=1)``.

        Raises:
            RecordError: an amount is no number; in that case none is added.
        """
        numbers = {name: _checked_amount(name, amount) for name, amount in amounts.items()}
        with self._tracer._lock:
            for name, number in numbers.items():
                if name in self.counters or len(self.counters) < _NAMES:
                    self.counters[name] = self.counters.get(name, 0) + number
                else:
                    self._lose("counters")
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

    def settle(self) -> None:
        """Makes plain data of what has been noted, and lets the objects go."""
        while self.raw_payload:
            try:
                name, value = self.raw_payload.pop(0)
            except IndexError:  # another thread has taken the last one
                return
            shown, size = bounded(value, max(0, _PAYLOAD_BYTES - self.payload_bytes))
            self.payload_bytes += size
            self.payload |= dict.fromkeys(plain({name[:_NAME]: None}), shown)

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
            self.retries.append((perf_counter_ns(), _checked_reason(reason)))
        self._changed()

    def finish_version(self, version: int) -> None:
        """Says the policy's version by now, where the sample is used; see :attr:`staleness`.

        Raises:
            RecordError: it is no int.
        """
        self.end_version = _checked_version(version)
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
        if self.policy_version is not None:
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
        reason = _checked_reason(reason)
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
        return _OFF_PHASE

    def count(self, /, **amounts: float) -> None:
        return None

    def note(self, /, **payload: Any) -> None:
        return None

    def retry(self, reason: Any = None) -> None:
        return None

    def finish_version(self, version: int) -> None:
        return None

    def carrier(self) -> dict[str, Any]:
        return {}

    def _decide(self, status: Status, reason: Any) -> None:
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


class SessionTracer:
    """Records rollout sessions. ``sl.session`` and its like act on the process's own.

    Until a run is started the last 1,024 that have ended are kept. At most 50,000 are in flight, and 100,000
    wait to be written; what comes beyond is dropped, and the file says how many.

    Args:
        enabled: False makes every call do nothing. Default: unless ``SIGHTLINE_DISABLED=1`` is set.

    Example:
        >>> tracer = SessionTracer()
        >>> with tracer.session(task=7, policy_version=3) as session:
        ...     with tracer.session_phase("generate"):
        ...         session.count(tokens=12)
        ...     session.finish_version(5)
        ...     session.accept()
        >>> session.status, session.staleness, session.counters
        ('accepted', 2, {'tokens': 12})
        >>> tracer.current_session() is None
        True
    """

    def __init__(self, *, enabled: bool | None = None) -> None:
        self.enabled: bool = os.environ.get("SIGHTLINE_DISABLED") != "1" if enabled is None else enabled
        self._on = self.enabled
        self._lock = threading.RLock()
        self._current: ContextVar[Session | None] = ContextVar("sightline_session", default=None)
        self._open: dict[int, Session] = {}
        self._queue: deque[Session] = deque()  # those that have ended, and those that changed after that
        self._writes = False
        self._hurry_at = 0
        self._hurry: Callable[[], None] = _nothing
        self._dropped = 0
        self._conflicts = 0
        self._said: set[str] = set()
        _tracers.add(self)

    # --- recording -----------------------------------------------------------------------------------------

    def session(
        self,
        /,
        task: Any = None,
        *,
        policy_version: int | Callable[..., int] | None = None,
        otherwise: Status = "dropped",
        **payload: Any,
    ) -> Session:
        """A session: ``with`` or ``async with`` for a block, or a decorator.

        The decorator takes functions, coroutines, generators and async generators; each call is a session,
        and a generator is one over its life.

        Args:
            task: what is tried: an int or a string, as in ``"gsm8k/17"``. Sessions of one task belong
                together, as those of a completion group do. For a decorator it may be a function of the
                call's arguments.
            policy_version: the policy's version at the start; the same.
            otherwise: the status of a block that ends normally without a word, ``"accepted"``, say.
            payload: what helps to read it: anything; long texts are cut.

        Raises:
            RecordError: ``otherwise`` is no status; at the beginning, ``policy_version`` is no int.

        Example:
            >>> import sightline as sl
            >>> @sl.session(task=lambda prompt: prompt, otherwise="accepted")
            ... def rollout(prompt):
            ...     with sl.session_phase("generate"):
            ...         return prompt.upper()
            >>> rollout("a")
            'A'
        """
        if not self._on:
            return _OFF_SESSION
        if otherwise not in STATUSES:
            raise RecordError(f"otherwise={_shown(otherwise)}; expected one of {', '.join(STATUSES)}")
        return Session(self, task, policy_version, otherwise, payload)

    def resume_session(self, carrier: Mapping[str, Any] | None) -> Session:
        """Goes on with a session that began elsewhere; used as ``sl.session`` is.

        Leaving the block without a status leaves it to somebody else.

        Args:
            carrier: what :meth:`Session.carrier` gave; an empty one, from where sessions are off, or None:
                nothing is recorded.

        Raises:
            RecordError: it is something else.

        Example:
            >>> tracer = SessionTracer()
            >>> with tracer.session(task=7) as session:
            ...     sample = {"text": "…", "session": session.carrier()}
            >>> with tracer.resume_session(sample["session"]) as part:
            ...     part.accept()
            >>> part.id == session.id, session.status
            (True, 'pending')
        """
        if not self._on or carrier is None or (isinstance(carrier, Mapping) and not carrier):
            return _OFF_SESSION
        identity = carrier.get("session") if isinstance(carrier, Mapping) else None
        begun = carrier.get("started_ns") if isinstance(carrier, Mapping) else None
        if not isinstance(identity, str) or len(identity) > _NAME or not _is_time(begun):
            raise RecordError(f"resume_session({_shown(carrier)}): expected what session.carrier() gave")
        part = Session(self, carrier.get("task"), carrier.get("policy_version"), "pending")
        part._id = identity
        part.started_ns = begun
        part.start_there = start = carrier.get("start")
        if identity.startswith(f"{_process_id}-") and _is_time(start):
            part.origin = start
        else:
            part.origin = perf_counter_ns() - (time.time_ns() - begun)
        return part

    def current_session(self) -> Session | None:
        """The innermost session whose block is open here, in this thread or task; None if there is none."""
        session = self._current.get()
        while session is not None and session.closed:  # a task may outlive the block that it was made in
            session = session._outer
        return session

    def session_phase(self, name: str, /, **args: Any) -> CurrentPhase:
        """A phase of the current session, for code that does not know it; nothing where there is none.

        A context manager, and a decorator for all kinds of functions.

        Example:
            >>> import sightline as sl
            >>> @sl.session_phase("reward")
            ... def reward(text):
            ...     return float(len(text))
            >>> with sl.session(task=7) as session:
            ...     reward("12")
            ...     session.accept()
            2.0
            >>> [phase.name for phase in session.phases]
            ['reward']
        """
        if not self._on:
            return _OFF_PHASE
        return CurrentPhase(self, _checked_name(name), args)

    # --- emptying ------------------------------------------------------------------------------------------

    def begin_writing(self, hurry_at: int, hurry: Callable[[], None]) -> None:
        """From now on somebody calls :meth:`take`, several times a second, and sooner after ``hurry``.

        Args:
            hurry_at: call that when so many have ended.
            hurry: must not wait.
        """
        self._hurry_at, self._hurry, self._writes = hurry_at, hurry, True

    def end_writing(self) -> None:
        """Nobody does any more; the last ones are kept for whoever begins again."""
        self._hurry_at, self._hurry, self._writes = 0, _nothing, False

    def take(self, limit: int) -> list[Session]:
        """Sessions that have ended, or changed after that, in this order; ``limit`` at most."""
        with self._lock:
            return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    def in_flight(self) -> int:
        """How many have begun and not ended."""
        return len(self._open)

    def open_sessions(self) -> list[Session]:
        """Those in flight, the oldest first. From any thread."""
        with self._lock:
            return list(self._open.values())

    def take_dropped(self) -> int:
        """How many sessions have not been recorded since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def take_conflicts(self) -> int:
        """How many second statuses there were since the last call."""
        with self._lock:
            conflicts, self._conflicts = self._conflicts, 0
            return conflicts

    def turn(self, on: bool) -> None:
        """Switches recording on or off; not off while the sessions of a run are written."""
        if not on and self._writes:
            return
        self._on = on and self.enabled
        if not on:
            with self._lock:
                self._queue.clear()
                self._open.clear()

    # --- inside --------------------------------------------------------------------------------------------

    def _opened(self, session: Session) -> None:
        with self._lock:
            session.kept = self._on and len(self._open) < _OPEN
            if session.kept:
                self._open[session.number] = session
            elif self._on:
                self._dropped += 1

    def _closed(self, session: Session) -> None:
        with self._lock:
            self._open.pop(session.number, None)
        self._ended_or_changed(session)

    def _ended_or_changed(self, session: Session) -> None:
        if not self._on or not session.kept:
            return
        if not self._writes:
            session.settle()  # who knows how long it is kept
        with self._lock:
            if self._writes:
                if len(self._queue) >= _ENDED:
                    self._dropped += 1
                    return
            elif len(self._queue) >= _BEFORE:
                self._queue.popleft()
            self._queue.append(session)
        if 0 < self._hurry_at <= len(self._queue):
            self._hurry()

    def _restore(self, session: Session, token: Token[Session | None]) -> None:
        try:
            self._current.reset(token)
        except ValueError:  # the block was left in another context than it was entered in
            if self._current.get() is session:
                self._current.set(session._outer)

    def _conflict(self, session: Session, later: str) -> None:
        with self._lock:
            self._conflicts += 1
        self._say_once(
            "conflict",
            f"session {session.id} (task {session.task!r:.100}) is {session.status} already: {later!r} is "
            "not taken (said once; counted as obs/session_conflicts)",
        )

    def _unsaid(self, session: Session) -> None:
        self._say_once(
            "unsaid",
            f"session {session.id} (task {session.task!r:.100}) ended without a status, and counts as "
            "dropped: call accept, reject, fail or drop, or sl.session(…, otherwise='accepted') (said once)",
        )

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("sightline: %s", message)

    def _forget_all(self) -> None:
        """In a forked child: the sessions are the parent's."""
        self._lock = threading.RLock()
        self.end_writing()
        self.turn(False)  # until a run of the child's own begins


def _nothing() -> None:
    return None


def _verdict(kind: type[BaseException], error: str | None) -> tuple[str | None, Status]:
    """What a session becomes by an exception, and why."""
    if kind.__name__ in ("CancelledError", "Cancelled"):  # asyncio's, trio's, that of futures
        return "cancelled", "dropped"
    if issubclass(kind, GeneratorExit):
        return "closed", "dropped"
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return "interrupted", "dropped"
    return error, "failed"


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise RecordError(f"phase({_shown(name)}): expected a name, got {type(name).__name__}")
    return str(name)


def _checked_task(task: Any) -> Any:
    """An int or a short string, whatever it is."""
    if isinstance(task, np.integer):
        task = int(task)
    if task is None or (task.__class__ is int and -(2**63) <= task < 2**63):
        return task
    return _text(task, _NAME)


def _checked_version(version: Any) -> int | None:
    if version is None:
        return None
    if not isinstance(version, (int, np.integer)) or isinstance(version, bool):
        raise RecordError(f"policy version {_shown(version)}: expected an int, got {type(version).__name__}")
    if not -(2**63) <= version < 2**63:
        raise RecordError("policy version: expected an int of 64 bits, got a longer one")
    return int(version)


def _checked_amount(name: str, amount: Any) -> int | float:
    if amount.__class__ is int or amount.__class__ is float:
        return amount
    if isinstance(amount, (int, np.integer, np.bool_)):
        return int(amount)
    if isinstance(amount, (float, np.floating)):
        return float(amount)
    raise RecordError(f"count({name}={_shown(amount)}): expected a number, got {type(amount).__name__}")


def _shown(value: Any) -> str:
    return f"{plain(value)!r:.200}"


def _is_time(value: Any) -> TypeGuard[int]:
    """Whether it may be nanoseconds of a clock."""
    return isinstance(value, int) and 0 <= value < 2**63


def _checked_reason(reason: Any) -> str | None:
    return None if reason is None else _text(reason, _REASON)


def _text(value: Any, characters: int) -> str:
    """A short text of anything."""
    text = value if value.__class__ is str else str(plain(value))
    if len(text) > characters:
        text = f"{text[:characters]}… ({len(text) - characters} characters more)"
    return text if text.isascii() else str(plain(text))


_numbers = itertools.count(1)
_process_id = os.urandom(8).hex()
_tracers: weakref.WeakSet[SessionTracer] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    global _process_id
    _process_id = os.urandom(8).hex()
    for tracer in list(_tracers):
        tracer._forget_all()


os.register_at_fork(after_in_child=_after_fork_in_child)

#: The process's own.
SESSIONS = SessionTracer()
_OFF_TRACER = SessionTracer(enabled=False)
_OFF_SESSION = OffSession(_OFF_TRACER)
_OFF_PHASE = OffPhase(_OFF_TRACER, "", {})
