"""How long is waited, and that waiting as one is told is no failed try."""

from __future__ import annotations

import pytest

from harness.compute.evaluate.endpoint import patience
from harness.compute.evaluate.endpoint.patience import Endurance, Patience, retry_after_s
from harness.compute.evaluate.endpoint.replies import Fault, Kind

NOON = "Fri, 02 Jan 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1"}, 1.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "1"}, 1.0),
        # By the clock of the server, whatever ours says.
        ({"retry-after": "Fri, 02 Jan 2026 12:00:30 GMT", "date": NOON}, 30.0),
        ({"retry-after": "Fri, 02 Jan 2026 13:00:30 +0100", "date": NOON}, 30.0),
        ({"retry-after": "Friday, 02-Jan-26 12:00:30 GMT", "date": NOON}, 30.0),
        ({"retry-after": "Fri, 02 Jan 2026 11:00:00 GMT", "date": NOON}, 0.0),
        ({"retry-after": "Fri, 02 Jan 2026 11:00:00 GMT", "date": "today"}, 0.0),
        ({"retry-after": "Fri, 99 Jan 99999 11:00:00 GMT"}, None),
    ],
)
def test_seconds_and_dates_are_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def busy(wait_s: float | None = None) -> Fault:
    return Fault(Kind.BUSY, "HTTP 429", wait_s=wait_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    return now


def test_a_told_wait_is_kept_to_and_costs_no_try(clock: list[float]) -> None:
    mine = Patience(2, Endurance(60.0, print))
    assert [mine.wait_s(busy(1.0)) for _ in range(30)] == [1.0] * 30
    assert mine.tries == 0


def test_a_wait_that_is_not_told_grows(clock: list[float]) -> None:
    for told in (None, 0.0):
        mine = Patience(2, Endurance(60.0, print))
        waits = [mine.wait_s(busy(told)) for _ in range(12)]
        assert all(w is not None and 0.3 <= w <= 8.0 for w in waits)
        assert waits[0] is not None and waits[-1] is not None and waits[0] < 1 < 5 < waits[-1]


def test_an_endpoint_that_answers_nobody_is_given_up(clock: list[float]) -> None:
    shared = Endurance(60.0, print)
    mine, other = Patience(2, shared), Patience(2, shared)
    clock[0] += 59.5
    assert mine.wait_s(busy(1.0)) is None
    shared.answered()  # somebody's request came through: it is only slow
    assert other.wait_s(busy(1.0)) == 1.0
    assert mine.wait_s(busy(61.0)) is None  # longer than it may keep silent


def test_what_broke_is_asked_again_so_often(clock: list[float]) -> None:
    mine = Patience(3, Endurance(60.0, print))
    waits = [mine.wait_s(Fault(Kind.BROKEN, "HTTP 502")) for _ in range(4)]
    assert waits[3] is None and mine.tries == 3
    assert [w is not None and 0.37 * 2**n <= w <= 0.5 * 2**n for n, w in enumerate(waits[:3])]
    told = Patience(3, Endurance(60.0, print))
    assert told.wait_s(Fault(Kind.BROKEN, "HTTP 500", wait_s=5.0)) == 5.0
    assert told.wait_s(Fault(Kind.BROKEN, "HTTP 500", wait_s=5000.0)) == 60.0


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.SUSPECT, Kind.HOPELESS])
def test_a_refusal_is_not_asked_again(kind: Kind) -> None:
    assert Patience(3, Endurance(60.0, print)).wait_s(Fault(kind, "HTTP 400")) is None


def test_a_line_now_and_then_says_why_it_takes_longer(clock: list[float]) -> None:
    said: list[str] = []
    shared = Endurance(60.0, said.append)
    for _ in range(5):
        shared.tell(busy())
    assert said == ["this takes longer: the endpoint wants to be asked later (HTTP 429)"]
    clock[0] += 10
    shared.tell(busy())
    assert len(said) == 2
