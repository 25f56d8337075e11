"""A process and all below it: found, signalled, ended. Linux; standard library only.

Whoever has to end more than one process does it by `end` here: TERM, patience, KILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator

KILL_LIMIT_S = 60.0
"""How long processes may take to go after KILL."""
_TICK_S = 0.05


def descendants(root: int, *, zombies: bool = False) -> list[int]:
    """All processes below `root`, from one reading of /proc; zombies only on request."""
    children: dict[int, list[int]] = {}
    ended = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                # The command's name may hold spaces and brackets; what follows the last is fixed.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        children.setdefault(int(parent), []).append(int(entry))
        if state in (b"Z", b"X"):
            ended.add(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        queue += below
        found += [pid for pid in below if zombies or pid not in ended]
    return found


def family(pid: int) -> Iterator[int]:
    """A process and its descendants, by /proc/<pid>/task/<tid>/children.

    Cheap enough to be asked ten times a second on a node of many processes.
    """
    yield pid
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                children = file.read().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def send(pids: Iterable[int], number: int) -> None:
    """Signal each; one that is gone, or not ours to signal (setuid), is passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def send_group(leader: int, number: int) -> None:
    """Signal a process group, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def end(
    members: Callable[[], Iterable[int]],
    *,
    grace_s: float,
    limit_s: float = KILL_LIMIT_S,
    tick: Callable[[], object] = lambda: None,
) -> list[int]:
    """TERM, wait up to `grace_s` seconds, then KILL until `members` names nobody.

    `members` tells who still lives, afresh at each look; `tick` is called between looks (to reap
    children, to copy their output). With no grace there is no TERM. Returns who is left `limit_s`
    seconds after the first KILL.
    """
    began = time.monotonic()
    if grace_s > 0:
        send(members(), signal.SIGTERM)
    while True:
        tick()
        left = list(members())
        spent = time.monotonic() - began
        if not left or spent > grace_s + limit_s:
            return left
        if spent >= grace_s:
            send(left, signal.SIGKILL)
        time.sleep(_TICK_S)
