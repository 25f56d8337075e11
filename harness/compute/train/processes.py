"""A child that trains: told to save by signals, watched, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
TAIL_LINES = 40
_KILL_AFTER_SECONDS = 10.0


class Launcher:
    """A running `accelerate launch` and its workers, which live in sessions of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._seen: set[psutil.Process] = set()
        self.stop_requested = False
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def request_stop(self, *_: object) -> None:
        """Tell the workers to save and stop; the launcher itself would die of USR2."""
        self.stop_requested = True
        for worker in self.workers():
            with _gone():
                worker.send_signal(signal.SIGUSR2)

    def workers(self) -> list[psutil.Process]:
        """The launcher's own children, one for each rank on this node."""
        self._look()
        try:
            return psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def stream(self) -> int:
        """Copy the output to ours, line by line, until it ends; returns the exit code."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            self.tail.append(line.rstrip("\n"))
            self._look()
        return self._process.wait()

    def kill_survivors(self) -> list[int]:
        """End whatever the launcher started and left; returns the ids that were still there."""
        self._look()
        alive = [p for p in self._seen if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        for process in alive:
            with _gone():
                process.terminate()
        _, stubborn = psutil.wait_procs(alive, timeout=_KILL_AFTER_SECONDS)
        for process in stubborn:
            with _gone():
                process.kill()
        psutil.wait_procs(stubborn, timeout=_KILL_AFTER_SECONDS)
        return sorted(p.pid for p in alive)

    def _look(self) -> None:
        """Remember every descendant: orphans can no longer be found through their parent."""
        with _gone():
            process = psutil.Process(self._process.pid)
            self._seen.update([process, *process.children(recursive=True)])
        for known in list(self._seen):
            with _gone():
                self._seen.update(known.children(recursive=True))


@contextmanager
def launched(argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Iterator[Launcher]:
    """Start the launcher, forward USR2 and TERM to its workers, leave no process behind.

    USR2 is blocked while the child starts, and workers inherit that: a signal that comes before
    a worker is ready waits for it instead of killing it. The launcher never unblocks it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        process = subprocess.Popen(
            list(argv), env=dict(environment), cwd=cwd, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=1,
        )  # fmt: skip
        launcher = Launcher(process)
        handlers = {s: signal.signal(s, launcher.request_stop) for s in STOP_SIGNALS}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield launcher
    finally:
        launcher.kill_survivors()
        if process.stdout is not None:
            process.stdout.close()
        process.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        pass


def hard_kill(_number: int, _frame: FrameType | None) -> None:  # pragma: no cover
    """Handler of last resort."""
    os._exit(1)
