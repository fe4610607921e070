"""Rollout sessions: one try at one task, from its submission to what became of it, phase by phase.

A session may go on in other threads and processes: :meth:`Session.carrier` travels with the sample, and
:meth:`SessionTracer.resume_session` goes on there. Each of these is a *part* of the session; who reads the
files (:mod:`sightline.tracing.session_files`) joins the parts by the session's id.

Recording is readings of the clock and appends. :mod:`sightline.tracing.session_writer` does the rest, on a
thread of its own. Times are ``time.perf_counter_ns``, the clock of the spans.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from time import perf_counter_ns
from typing import Any

from sightline.errors import RecordError
from sightline.support.given_numbers import is_missing
from sightline.tracing.session_values import LONGEST_NAME, checked_name, checked_version, shown, time_of
from sightline.tracing.sessions import (
    DISABLED_SESSION,
    OFF_PHASE,
    OFF_SESSION,
    STATUSES,
    CurrentPhase,
    Session,
    Status,
    process_id,
)

log = logging.getLogger("sightline")

_BEFORE = 1024  # ended sessions that are kept while nobody writes
_ENDED = 100_000  # that wait to be written; new ones are dropped beyond
_OPEN = 50_000  # in flight at once; those beyond are not recorded


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
        self._given = 0  #: of them so far, without those that were left out
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
        if not self.enabled:
            return DISABLED_SESSION
        if otherwise not in STATUSES:
            raise RecordError(f"otherwise={shown(otherwise)}; expected one of {', '.join(STATUSES)}")
        if not self._on:
            if not callable(policy_version):
                checked_version(policy_version)
            return OFF_SESSION
        return Session(self, task, policy_version, otherwise, payload)

    def resume_session(self, carrier: Mapping[str, Any] | None) -> Session:
        """Goes on with a session that began elsewhere; used as ``sl.session`` is.

        Leaving the block without a status leaves it to somebody else.

        Args:
            carrier: what :meth:`Session.carrier` gave, also after a table has made NumPy's numbers or floats
                of it; an empty one, from where sessions are off, None or NaN: nothing is recorded.

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
        if not self.enabled:
            return DISABLED_SESSION
        if is_missing(carrier) or (isinstance(carrier, Mapping) and not carrier):
            return OFF_SESSION
        identity = carrier.get("session") if isinstance(carrier, Mapping) else None
        begun = time_of(carrier.get("started_ns")) if isinstance(carrier, Mapping) else None
        if carrier is None or begun is None or not isinstance(identity, str) or len(identity) > LONGEST_NAME:
            raise RecordError(f"resume_session({shown(carrier)}): expected what session.carrier() gave")
        task, version = carrier.get("task"), checked_version(carrier.get("policy_version"))
        if not self._on:
            return OFF_SESSION
        if isinstance(task, float):  # an int that was in a table
            task = int(task) if task.is_integer() else task
        part = Session(self, task, version, "pending")
        part._id = identity
        part.started_ns = begun
        part.start_there = start = time_of(carrier.get("start"))
        if identity.startswith(f"{process_id()}-") and start is not None:
            part.origin = start
        else:
            part.origin = perf_counter_ns() - (time.time_ns() - begun)
        return part

    def current_session(self) -> Session | None:
        """The innermost session whose block is open here, in this thread or task; None if there is none.

        Example:
            >>> import sightline as sl
            >>> with sl.session(task=7) as session:
            ...     sl.current_session() is session
            True
        """
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
            return OFF_PHASE
        return CurrentPhase(self, checked_name(name), args)

    # --- for those who write, and look ---------------------------------------------------------------------

    def _begin_writing(self, hurry_at: int, hurry: Callable[[], None]) -> None:
        """From now on somebody calls :meth:`_take`, several times a second, and sooner after ``hurry``.

        Args:
            hurry_at: call that when so many have ended.
            hurry: must not wait.
        """
        self._hurry_at, self._hurry, self._writes = hurry_at, hurry, True

    def _end_writing(self) -> None:
        """Nobody does any more; the last ones are kept for whoever begins again."""
        self._hurry_at, self._hurry, self._writes = 0, _nothing, False

    def _take(self, limit: int) -> list[Session]:
        """Sessions that have ended, or changed after that, in this order; ``limit`` at most."""
        with self._lock:
            return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    def _leave_out(self, number: int) -> None:
        """That so many of those taken are not written."""
        with self._lock:
            self._given -= number

    def _waiting(self) -> int:
        """How many :meth:`_take` would give."""
        return len(self._queue)

    def _in_flight(self) -> int:
        """How many have begun and not ended."""
        return len(self._open)

    def _open_sessions(self) -> list[Session]:
        """Those in flight, the oldest first. From any thread."""
        with self._lock:
            return list(self._open.values())

    def _take_dropped(self) -> int:
        """How many sessions have not been recorded since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _take_conflicts(self) -> int:
        """How many second statuses there were since the last call."""
        with self._lock:
            conflicts, self._conflicts = self._conflicts, 0
            return conflicts

    def _turn(self, on: bool) -> None:
        """Switches recording on or off; not off while the sessions of a run are written."""
        if not on and self._writes:
            return
        self._on = on and self.enabled
        if not on:
            with self._lock:
                self._given -= len(self._queue)
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
                self._given -= 1
            self._queue.append(session)
            self._given += 1
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
        self._end_writing()
        self._turn(False)  # until a run of the child's own begins


def _nothing() -> None:
    return None


_tracers: weakref.WeakSet[SessionTracer] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for tracer in list(_tracers):
        tracer._forget_all()


os.register_at_fork(after_in_child=_after_fork_in_child)

#: The process's own.
SESSIONS = SessionTracer()
