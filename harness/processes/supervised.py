"""A process of ours: started through supervisor.py, stopped with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from harness.errors import ServerError
from harness.processes import supervisor, tree
from harness.processes.marked import living, marked
from harness.processes.shell import own_module

GRACE_S = 10.0
MARKER = "HARNESS_SERVER_ID"


def tail(path: Path, start: int = 0, lines: int = 30) -> str:
    """The last lines of a log, from byte `start` on; says so where there are none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - (1 << 18)))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


class SupervisedProcess:
    """One running server, or another program. Its parent is a supervisor, which stops it when we die."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        log_path: Path,
        *,
        marker: str,
        secrets: Sequence[str] = (),
        grace_s: float = GRACE_S,
    ) -> None:
        """Start `argv`.

        Raises ServerError when the command cannot be executed.
        """
        # Should the supervisor be killed, its orphans come to us, and stop() finds them here.
        supervisor.prctl(supervisor.PR_SET_CHILD_SUBREAPER, 1)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.log_path, self.marker, self.grace_s = log_path, marker, grace_s
        self.log_start = log_path.stat().st_size
        self.exit_code: int | None = None
        self._lock = threading.Lock()
        try:
            self._supervisor = subprocess.Popen(
                own_module("harness.processes.supervisor", isolated=True),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                env={**environ, MARKER: marker},
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        order = {
            "argv": list(argv),
            "log": str(log_path.absolute()),
            "secrets": list(secrets),
            "grace_s": grace_s,
        }
        try:
            self.pid = self._give(order)
        except BaseException:
            self.stop()
            raise

    def _give(self, order: dict[str, object]) -> int:
        stdin, stdout = self._supervisor.stdin, self._supervisor.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(order).encode() + b"\n")
            stdin.flush()
            answer = json.loads(stdout.readline() or b"{}")
        except OSError as error:
            answer = {"error": f"its supervisor died ({error})"}
        if "pid" not in answer:
            reason = answer.get("error", "its supervisor died")
            raise ServerError(f"the server cannot be started: {reason}", self.log_path)
        return int(answer["pid"])

    def alive(self) -> bool:
        """Whether the server's own process runs, under a supervisor that would stop it."""
        if self._supervisor.poll() is not None:
            return False
        try:
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def tree(self) -> set[int]:
        """The server and everything below it."""
        return set(tree.descendants(self._supervisor.pid))

    def tail(self, lines: int = 30) -> str:
        """The last lines that this server wrote."""
        return tail(self.log_path, self.log_start, lines)

    def output(self) -> str:
        """What this server wrote, at most the last 256 kB."""
        return tail(self.log_path, self.log_start, lines=1 << 20)

    def stop(self) -> None:
        """Stop the server and everything it started; may be called again.

        Raises ServerError when a process survives SIGKILL.
        """
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        process = self._supervisor
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()  # the sign to stop
        try:
            process.wait(self.grace_s + tree.KILL_LIMIT_S + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not process.stdout.closed:
            for line in process.stdout.read().splitlines():
                with contextlib.suppress(ValueError):
                    self.exit_code = json.loads(line).get("code", self.exit_code)
            process.stdout.close()
        left = self._kill_orphans()
        if left:
            raise ServerError(f"processes {left} of the server survive SIGKILL", self.log_path)

    def _kill_orphans(self) -> list[int]:
        """Kill what a killed supervisor left to us, known by the marker in its environment."""
        return tree.end(
            lambda: living(marked(MARKER, self.marker, psutil.Process().children(recursive=True))),
            grace_s=0,
        )
