"""SIGTERM, as a preemption sends it: what is under way is written, and then the signal goes on."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


class TerminationHandler:
    """From when it is made, on the main thread, until :meth:`restore`; on another thread it does nothing.

    The handler itself only starts a thread, so nothing that the interrupted code holds can block it. Python
    runs it between two bytecodes of the main thread: during a long call into C it waits for that call. JAX
    installs a handler in C (its preemption service), which Python does not know of; it is put back the same.

    Args:
        write: writes what is under way, in bounded time; called on that thread.
    """

    def __init__(self, write: Callable[[], object]) -> None:
        self._write = write
        self._process = os.getpid()
        self._installed = False
        if threading.current_thread() is not threading.main_thread():
            return
        self._in_c = _c_handler(signal.SIGTERM)
        self._before = signal.signal(signal.SIGTERM, self._handle)
        self._installed = True

    def restore(self) -> None:
        """Puts back what was there before; only the main thread can."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._installed = False
        if signal.getsignal(signal.SIGTERM) == self._handle:  # else somebody has installed another since
            self._put_back()

    def _put_back(self) -> None:
        signal.signal(signal.SIGTERM, self._before if self._before is not None else signal.SIG_DFL)
        if self._in_c is not None and not callable(self._before):
            _set_c_handler(signal.SIGTERM, self._in_c)

    def _pass_on(self) -> None:
        self._put_back()
        os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._installed:  # its run is over, and whoever came after it has put it back
            self._pass_on()
            return
        self.restore()
        if os.getpid() != self._process:  # a forked child, which has nothing to write
            os.kill(os.getpid(), number)
        else:
            threading.Thread(target=self._write_and_pass_on, name="sightline-sigterm", daemon=True).start()

    def _write_and_pass_on(self) -> None:
        self._write()
        os.kill(os.getpid(), signal.SIGTERM)


def _c_handler(number: int) -> int | None:
    """The address of a signal's handler in C; None where it cannot be told."""
    try:
        libc = ctypes.CDLL(None)
        libc.signal.restype = ctypes.c_void_p
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        address = libc.signal(number, None)  # SIG_DFL, for the moment until the next line
        libc.signal(number, address)
    except (OSError, AttributeError):
        return None
    return int(address or 0)


def _set_c_handler(number: int, address: int) -> None:
    ctypes.CDLL(None).signal(number, ctypes.c_void_p(address))
