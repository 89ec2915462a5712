"""A hard end for SQL that others write: DuckDB stops a statement between its blocks of rows, this stops it anywhere."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..exporters.onnx_graph.limits import data_limited

GRACE = 1.0  # seconds in which a statement can end by itself when it should: it removes what it wrote to the disk
INTERRUPTED = 130  # what a shell expects of a command ended by Ctrl-C
_ENDED = b"\0"  # no signal has this number


@contextmanager
def limited(
    seconds: float, memory: int, timed_out: str, clean_up: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """End this process when what happens inside takes longer than `seconds` (0: no limit), or Ctrl-C does not end it.

    memory: bytes that the process may hold meanwhile, where the system can limit that; more is a MemoryError, or
        DuckDB's
    timed_out: what is said then; clean_up: what is done then
    """
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    watch = threading.Thread(target=_watch, args=(woken, seconds, timed_out, clean_up), daemon=True)
    before = _wake_by_signals(waker)
    try:
        with data_limited(memory):
            watch.start()
            yield
    finally:
        _restore_signals(before)
        waker.send(_ENDED)
        watch.join()
        waker.close()
        woken.close()


def _watch(woken: socket.socket, seconds: float, timed_out: str, clean_up: Callable[[], object]) -> None:
    woken.settimeout(seconds + GRACE if seconds else None)
    try:
        got = woken.recv(1)
    except TimeoutError:
        _end(f"error: {timed_out}", 1, clean_up)
    if got == bytes([signal.SIGINT]):
        woken.settimeout(GRACE)
        try:
            while woken.recv(1) != _ENDED:
                pass
        except TimeoutError:
            _end("interrupted", INTERRUPTED, clean_up)


def _end(said: str, code: int, clean_up: Callable[[], object]) -> None:
    # The main thread is within DuckDB, and nothing else can be done about it.
    clean_up()
    with suppress(OSError, ValueError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{said}\n".encode(errors="backslashreplace"))
    os._exit(code)


def _wake_by_signals(waker: socket.socket) -> int | None:
    # Ctrl-C is heard even while the main thread runs no Python; only the main thread can ask for that.
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)


def _restore_signals(before: int | None) -> None:
    if before is not None:
        signal.set_wakeup_fd(before)
