"""Keeps the daemons of one private cluster, and ends every one of them whatever happens.

Started by `cluster.py` as ``python supervisor.py <folder> <parent pid>``. It reads one JSON request
a line on stdin and answers each with one JSON line on stdout:

    {"do": "spawn", "name": ..., "argv": [...], "env": {...}, "log": path, "cwd": path}
                        -> {"pid": n}
    {"do": "exited"}    -> {"<name>": <return code>, ...}, the daemons that have ended
    {"do": "stop"}      -> {"killed": n} once no process is left, then the supervisor ends

It is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): whatever its daemons start and abandon
(slurmstepd, the processes of jobs, even those in sessions of their own) becomes its child, so that
all of it can be found and killed. It stops by itself when the parent process ends, in any way, when
stdin closes and on SIGTERM; then it removes the folder. Linux only; needs no package.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)


class Ended(Exception):
    """Raised by the SIGTERM handler to leave the loop."""


def parents() -> dict[int, int]:
    """The parent of every living process of this machine, zombies left out (proc(5), stat)."""
    found: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue  # it ended while we were looking
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                found[int(entry)] = int(parent)
    return found


def descendants(root: int) -> set[int]:
    """Every living process below `root`, itself left out."""
    tree = parents()
    found: set[int] = set()
    level = {root}
    while level:
        level = {pid for pid, parent in tree.items() if parent in level} - found
        found |= level
    return found


def kill(pids: set[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to each; those already gone are no error."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Supervisor:
    """The daemons by name, and the ways to end them."""

    def __init__(self) -> None:
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.exited: dict[str, int] = {}

    def spawn(self, name: str, argv: list[str], env: dict[str, str], log: str, cwd: str) -> int:
        def die_with_me() -> None:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

        with open(log, "ab") as stream:
            process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=die_with_me,  # for the one case in which this process gets SIGKILL
            )
        self.daemons[name] = process
        self.exited.pop(name, None)
        return process.pid

    def reap(self) -> bool:
        """Collect ended children (daemons, and orphans that became ours); is any child left?"""
        names = {process.pid: name for name, process in self.daemons.items()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid in names:
                name = names[pid]
                code = os.waitstatus_to_exitcode(status)
                self.daemons.pop(name).returncode = code
                self.exited[name] = code

    def stop(self) -> int:
        """Kill all that is below this process; returns how many were killed.

        Done when the kernel says that there is no child (every orphan becomes one), or after 30 s
        (a process in an uninterruptible wait cannot be killed).
        """
        killed: set[int] = set()
        deadline = time.monotonic() + 30
        while self.reap() and time.monotonic() < deadline:
            alive = descendants(os.getpid())
            kill(alive)
            killed |= alive
            time.sleep(0.01)
        return len(killed)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.pop("do"):
            case "spawn":
                try:
                    return {"pid": self.spawn(**request)}
                except OSError as error:
                    return {"error": str(error)}
            case "exited":
                self.reap()
                return dict(self.exited)
            case "stop":
                return {"killed": self.stop(), "ended": True}
            case other:
                return {"error": f"unknown request {other!r}"}

    def serve(self, parent: int) -> None:
        """Answer until told to stop, until stdin closes or until the parent process ends."""
        try:
            watched = os.pidfd_open(parent)
        except ProcessLookupError:
            return
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        poll.register(0, select.POLLIN | select.POLLHUP)
        pending = b""
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(200)}
            self.reap()
            if watched in ready:
                return
            if 0 in ready:
                chunk = os.read(0, 65536)
                if not chunk:
                    return
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    reply = self.answer(json.loads(line))
                    os.write(1, json.dumps(reply).encode() + b"\n")
                    if reply.get("ended"):
                        return


def main(folder: str, parent: int) -> None:
    def end(number: int, frame: object) -> None:
        raise Ended

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    supervisor = Supervisor()
    try:
        supervisor.serve(parent)
    except Ended:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
