"""A session for each group of completions: when it was made, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

import numpy as np

import sightline as sl


class Arrows(Protocol):
    """What `sl.record_timing` gives, as far as it is needed here."""

    def flow_out(self) -> int: ...
    def flow_in(self, flow: int) -> None: ...


class GroupSessions:
    """The sessions of a step's groups, which are sampled and rewarded together, and trained on at once.

    Attributes:
        flow: the arrow from the last phase, to end where the groups are used next; 0: there is none.

    Args:
        tasks: what each group tries: its problem, its user.
        version: of the policy that samples: the step.
    """

    def __init__(self, tasks: Sequence[str], version: int) -> None:
        self._version = version
        self.flow = 0
        self._sessions = [sl.session(task=task, policy_version=version).begin() for task in tasks]

    @contextmanager
    def phase(self, name: str, timing: Arrows) -> Iterator[None]:
        """A phase that all groups are in, with an arrow from the phase before.

        Args:
            name: of the phase.
            timing: of the same block, whose span the arrow ends in, and the next one begins in.
        """
        timing.flow_in(self.flow)
        try:
            with ExitStack() as phases:
                for session in self._sessions:
                    phases.enter_context(session.phase(name))
                yield
                self.flow = timing.flow_out()
        except BaseException as error:
            for session in self._sessions:
                if isinstance(error, Exception):
                    session.fail(f"{type(error).__name__}: {error}")
                else:
                    session.drop("interrupted")
            raise

    def finish(self, rewards: np.ndarray, tokens: np.ndarray, zero_variance: np.ndarray) -> None:
        """Says what became of them.

        Args:
            rewards, tokens: (groups × size,), rewards and lengths of all completions.
            zero_variance: (groups,) bool: nothing can be learned from it, since all rewards are equal.
        """
        count = len(self._sessions)
        for session, group, lengths, equal in zip(
            self._sessions, rewards.reshape(count, -1), tokens.reshape(count, -1), zero_variance, strict=True
        ):
            session.count(completions=len(group), tokens=int(lengths.sum()))
            session.note(rewards=group.tolist())
            session.finish_version(self._version)
            if equal:
                session.reject("all rewards are equal")
            else:
                session.accept()
