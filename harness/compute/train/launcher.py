"""A child that trains: told to save by signals, watched, and never left behind.

The launcher runs below the same supervisor that guards servers (processes/supervisor.py): however
the job dies, kill -9 included, the supervisor sees it and ends every process below itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness.compute.train.launch import ATTEMPT_VARIABLE, SHUTDOWN_S
from harness.errors import TrainingError
from harness.processes import tree
from harness.processes.marked import living, marked
from harness.processes.shell import own_module

TAIL_LINES = 40
_POLL_S = 0.5
_KILL_AFTER_S = 5.0


class Launcher:
    """A running `accelerate launch`, whose workers live in process sessions of their own."""

    def __init__(
        self, supervised: subprocess.Popen[str], argv: Sequence[str], attempt: str
    ) -> None:
        self._process, self._attempt = supervised, attempt
        self._told: set[psutil.Process] = set()
        self.stop_signal: int | None = None
        """The first signal that asked to stop."""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._reader = threading.Thread(target=self._copy_output, daemon=True)
        self._reader.start()
        self._pid = self._start(argv)

    def _start(self, argv: Sequence[str]) -> int:
        """Give the supervisor its order; returns the launcher's process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "argv": list(argv), "log": "/dev/stderr", "secrets": [],
            "grace_s": SHUTDOWN_S,
        }  # fmt: skip
        answer: dict[str, object] = {}
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        if not isinstance(answer.get("pid"), int):
            reason = answer.get("error", "its supervisor died")
            raise TrainingError(f"the launcher cannot be started: {reason}")
        return int(str(answer["pid"]))

    @property
    def stop_requested(self) -> bool:
        return self.stop_signal is not None

    def request_stop(self, number: int, *_: object) -> None:
        """Tell the workers to save and stop. A signal handler, so it only sends signals."""
        self.stop_signal = self.stop_signal or number
        self._tell_workers()

    def wait(self) -> int:
        """Wait until the launcher has ended; returns its exit code, which proves little."""
        while True:
            try:
                supervisor_code = self._process.wait(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                if has_pending(self._pid, signal.SIGUSR2):
                    self.request_stop(signal.SIGUSR2)
                if self.stop_requested:
                    self._tell_workers()  # some may have started since
                continue
            assert self._process.stdout is not None
            for line in self._process.stdout.read().splitlines():
                code = json.loads(line).get("code")
                # Told to stop, the supervisor may not have learned the launcher's own code.
                return int(code) if code is not None else -signal.SIGTERM
            return supervisor_code

    def close(self) -> list[int]:
        """End whatever is left of this attempt, on this machine; returns those process ids."""
        left = survivors(self._attempt)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # the supervisor's sign to stop
        # Workers take TERM for a request to save: whatever still runs then is beyond saving.
        tree.end(lambda: living(left), grace_s=_KILL_AFTER_S, limit_s=_KILL_AFTER_S)
        self._process.wait()
        self._reader.join(timeout=_KILL_AFTER_S)
        return sorted(process.pid for process in left)

    def _tell_workers(self) -> None:
        """USR2 to each worker once, never to the launcher, which would die of it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for worker in psutil.Process(self._pid).children():
                if worker not in self._told:
                    worker.send_signal(signal.SIGUSR2)
                    self._told.add(worker)

    def _copy_output(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.tail.append(line.rstrip("\n"))
            sys.stdout.write(line)
            sys.stdout.flush()


def has_pending(pid: int, number: int) -> bool:
    """Whether a blocked signal waits for a process (proc(5), SigPnd, ShdPnd: bit n-1 is n).

    USR2 is blocked in `accelerate launch`, which would die of it: so we see who was told.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", text, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def survivors(attempt: str) -> list[psutil.Process]:
    """Processes of this machine that carry an attempt's name in their environment.

    Orphans are found by it too, when no parent leads to them any more.
    """
    return marked(ATTEMPT_VARIABLE, attempt)


@contextmanager
def launched(argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Iterator[Launcher]:
    """Start the launcher, forward USR2 and TERM to its workers, leave no process behind.

    Workers inherit a blocked USR2: a signal that comes before a worker is ready waits for it
    instead of killing it. Must be called from the main thread, as signal handlers are.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    handlers = {}
    try:
        process = subprocess.Popen(
            own_module("harness.processes.supervisor", isolated=True),
            env=dict(environment), cwd=cwd, text=True, errors="replace", bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        launcher = Launcher(process, argv, environment[ATTEMPT_VARIABLE])
        for number in (signal.SIGUSR2, signal.SIGTERM):
            handlers[number] = signal.signal(number, launcher.request_stop)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield launcher
    finally:
        launcher.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
