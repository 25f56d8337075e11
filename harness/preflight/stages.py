"""A line for the person when checking takes longer than two seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE_S = 2.0


class Stages:
    """Says what is being done, from `patience` seconds after the start on."""

    def __init__(
        self, report: Callable[[str], object] | None, patience: float = PATIENCE_S
    ) -> None:
        self._report, self._stage, self._late = report, "", False
        self._lock = threading.Lock()
        self._timer = threading.Timer(patience, self._wake)
        self._timer.daemon = True

    def __enter__(self) -> Stages:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._report = None

    def stage(self, text: str) -> None:
        """What is being done from now on."""
        with self._lock:
            self._stage = text
            if self._late and self._report:
                self._report(f"checking: {text}")

    def _wake(self) -> None:
        with self._lock:
            self._late = True
            if self._stage and self._report:
                self._report(f"checking: {self._stage}")
