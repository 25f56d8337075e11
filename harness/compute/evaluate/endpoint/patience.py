"""How long to wait before a request goes out again, and when it is given up."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from harness.compute.evaluate.endpoint.replies import Fault, Kind

FIRST_S, LONGEST_S = 0.5, 8.0
"""Of the waits after a failure, each twice the one before; as the OpenAI client waits."""
_LONGEST_TOLD_S = 60.0
"""Of a Retry-After that comes with a failure which counts as a try."""
_SAY_S = 10.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply says to wait; None where it says nothing that can be read.

    Retry-After in seconds or as an HTTP date (RFC 9110, 10.2.3), a date by the reply's own clock;
    `retry-after-ms` as OpenAI and Azure send it.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    told = _date(headers.get("retry-after", ""))
    if told is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(timezone.utc)
    return max((told - now).total_seconds(), 0.0)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


@dataclass
class Endurance:
    """What all requests to an endpoint share: how long it has answered nobody."""

    limit_s: float
    """An endpoint that only asks to wait, and answers nobody for so long, is given up."""
    say: Callable[[str], None]
    _answered: float = field(default_factory=lambda: time.monotonic())
    _said: float = -math.inf

    def answered(self) -> None:
        """A request has its answer."""
        self._answered = time.monotonic()

    def allows(self, wait_s: float) -> bool:
        """Whether it may be waited so long."""
        return time.monotonic() + wait_s - self._answered <= self.limit_s

    def tell(self, fault: Fault) -> None:
        """Why it takes longer: a line now, and another one every ten seconds."""
        if time.monotonic() - self._said >= _SAY_S:
            self._said = time.monotonic()
            self.say(f"this takes longer: the endpoint wants to be asked later ({fault})")


@dataclass
class Patience:
    """One request's: tries are for what is broken; to wait as one is told costs none."""

    retries: int
    shared: Endurance
    tries: int = 0
    _busy: int = 0

    def wait_s(self, fault: Fault) -> float | None:
        """Seconds until the request is worth another try; None: it is not."""
        if fault.kind is Kind.BUSY:
            wait = fault.wait_s or _growing(self._busy)
            self._busy += 1
            return wait if self.shared.allows(wait) else None
        if fault.kind is Kind.BROKEN and self.tries < self.retries:
            self.tries += 1
            return min(fault.wait_s or _growing(self.tries - 1), _LONGEST_TOLD_S)
        return None


def _growing(number: int) -> float:
    return float(min(FIRST_S * 2 ** min(number, 10), LONGEST_S) * (1 - 0.25 * random.random()))
