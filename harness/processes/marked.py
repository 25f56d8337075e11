"""Processes known by a variable in their environment: orphans, too, that no parent leads to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def marked(
    variable: str, value: str, among: Iterable[psutil.Process] | None = None
) -> list[psutil.Process]:
    """Living processes that carry a variable with this value; of this machine, or `among` some."""
    found = []
    for process in psutil.process_iter() if among is None else among:
        with contextlib.suppress(psutil.Error, OSError):
            if lives(process) and process.environ().get(variable) == value:
                found.append(process)
    return found


def lives(process: psutil.Process) -> bool:
    """Whether this very process still runs: neither ended, nor its id given to another."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def living(processes: Iterable[psutil.Process]) -> list[int]:
    """Ids of those that still run."""
    return [process.pid for process in processes if lives(process)]
