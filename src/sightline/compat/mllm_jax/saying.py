"""Warnings that are said once a process."""

from __future__ import annotations

import logging

log = logging.getLogger("sightline")

_said: set[str] = set()


def say_once(about: str, message: str, *arguments: object, exc_info: bool = False) -> None:
    """A warning in the log, once a process for what it is about."""
    if about not in _said:
        _said.add(about)
        log.warning("sightline: " + message, *arguments, exc_info=exc_info)
