"""A process and all that it starts end together: on its own account, ours, or by a kill. Linux."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from harness.processes import tree
from harness.processes.supervisor import PR_SET_PDEATHSIG, prctl

_STARTER = "HARNESS_STARTED_BY"


@contextmanager
def kin(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own; at the end nothing of it is left.

    The program calls `end_with_starter`, so that it does not outlive a starter that was killed.
    """
    own = {**env, _STARTER: str(os.getpid())}
    process = subprocess.Popen(argv, env=own, start_new_session=True)
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a leader of a session, its group and all below it, at once; and reap it."""
    below = tree.descendants(process.pid)
    # Its id names the group as long as it is not reaped, or the group has members.
    tree.send_group(process.pid, signal.SIGKILL)
    tree.send([process.pid, *below] if process.returncode is None else below, signal.SIGKILL)
    process.wait()


def exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """As `poll`, but the process stays a zombie, so that its id is not given to another."""
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def end_with_starter() -> None:
    """Called by a program that `kin` started: when the starter dies, its whole group ends."""
    starter = os.environ.get(_STARTER)
    if starter is None:
        return
    leader = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() == leader:
            os.killpg(leader, signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)  # a forked worker that its pool ends

    signal.signal(signal.SIGTERM, end)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(starter):  # it died before this line
        end()
