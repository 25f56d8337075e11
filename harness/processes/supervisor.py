"""The process between a job and its server, so that no server outlives its job.

Run by supervised.py and by the training job's launcher; standard library only. It reads one
line of JSON on standard input, its order, and takes the open end of that pipe as the sign that
the job lives: the kernel closes it however the job dies, kill -9 included. Then, or when the
server itself ends, everything the server started is stopped: as a "child subreaper" this process
inherits every orphan below it, so a daemon that forks twice cannot slip away.

On standard output: {"pid": N} or {"error": "..."}, and {"code": N} when all is over.
The server's output goes through here into the log, with secrets blanked out.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from types import FrameType
from typing import Any, NoReturn

from harness.processes.tree import descendants, end

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TICK_S = 0.2


def prctl(option: int, value: int) -> None:
    """prctl(2); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


class Log:
    """Copies the server's output to the log file, blanking secrets."""

    def __init__(self, path: str, source: int, secrets: list[str]) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.source: int | None = source
        self.secrets = [secret.encode() for secret in secrets if secret]
        self.kept = b""
        os.set_blocking(source, False)

    def pump(self) -> None:
        """Move what is there. An unfinished line waits: a secret could be cut in two."""
        for _ in range(64):  # a server that writes without end must not keep us from our duties
            try:
                data = os.read(self.source, 1 << 16) if self.source is not None else b""
            except BlockingIOError:
                return
            if not data:
                self.flush()
                if self.source is not None:
                    os.close(self.source)
                self.source = None
                return
            self.kept += data
            end = max(self.kept.rfind(b"\n"), self.kept.rfind(b"\r")) + 1
            if len(self.kept) - end > 1 << 20:
                end = len(self.kept)
            self.write(self.kept[:end])
            self.kept = self.kept[end:]

    def flush(self) -> None:
        """Write the unfinished line too."""
        self.write(self.kept)
        self.kept = b""

    def write(self, data: bytes) -> None:
        """Append; a full disk must not stop the supervision."""
        for secret in self.secrets:
            data = data.replace(secret, b"***")
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self.file, data) :]


class Supervisor:
    """Starts one server, waits for its end or the job's, stops what is left."""

    def __init__(self, order: dict[str, Any], lifeline: int) -> None:
        self.order, self.lifeline, self.parent = order, lifeline, os.getppid()
        self.told_to_stop = False
        self.code: int | None = None
        self.pid = 0

    def start(self) -> None:
        """Start the server in a session of its own; raises OSError."""
        me = os.getpid()

        def in_child() -> None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != me:
                os._exit(1)  # we died before the line above

        source, sink = os.pipe()
        self.log = Log(self.order["log"], source, self.order["secrets"])
        try:
            child = subprocess.Popen(
                self.order["argv"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=in_child,
            )
        finally:
            os.close(sink)
        self.pid = child.pid
        child.returncode = 0  # reap() waits for it; Popen must not

    def reap(self) -> None:
        """Collect every child that ended, adopted ones too; keep the server's exit code."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.code = os.waitstatus_to_exitcode(status)

    def watch(self) -> None:
        """Return when the server has ended or the job is gone."""
        while self.code is None and not self.told_to_stop:
            sources = [self.lifeline] + ([self.log.source] if self.log.source is not None else [])
            readable, _, _ = select.select(sources, [], [], TICK_S)
            if self.lifeline in readable and not os.read(self.lifeline, 4096):
                return
            if os.getppid() != self.parent:
                return  # the pipe may still be held by a forked child of the job
            self.log.pump()
            self.reap()

    def stop(self) -> list[int]:
        """End what lives below us; returns what could not be killed."""
        me = os.getpid()

        def look_after() -> None:
            self.reap()
            self.log.pump()

        # Zombies too: a process whose first thread has ended shows as one while its other
        # threads still hold its memory and port, and waitpid() has nothing to collect yet.
        return end(
            lambda: descendants(me, zombies=True), grace_s=self.order["grace_s"], tick=look_after
        )


def tell(message: dict[str, Any]) -> None:
    """One line to the job, which may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


def read_order(source: int) -> dict[str, Any]:
    """The first line; unbuffered, so that the rest of the pipe stays a lifeline."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(source, 1)
        if not byte:
            sys.exit(1)
        line += byte
    order: dict[str, Any] = json.loads(line)
    return order


def main() -> NoReturn:
    """Supervise one server; exit 0 when nothing of it is left."""
    # Slurm sends its warning signal to every process of the job, and the default action of USR1
    # and USR2 is death. The server inherits "ignore".
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    order = read_order(0)
    supervisor = Supervisor(order, 0)

    def terminate(number: int, frame: FrameType | None) -> None:
        supervisor.told_to_stop = True

    signal.signal(signal.SIGTERM, terminate)
    # SGLang's processes send this to their parent when they fail, and orphans of it have us as theirs.
    signal.signal(signal.SIGQUIT, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        supervisor.start()
    except OSError as error:
        tell({"error": str(error)})
        sys.exit(1)
    tell({"pid": supervisor.pid})
    supervisor.watch()
    left = supervisor.stop()
    supervisor.log.pump()
    supervisor.log.flush()
    tell({"code": supervisor.code, "left": left})
    sys.exit(1 if left else 0)
