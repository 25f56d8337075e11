"""How far a long piece of work is: lines in a log, and a sign of life for those who wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

LINE_S = 10.0
"""Between two lines, at least."""
_TOUCH_S = 1.0
_DONE = {
    "Tokenizing": "tokenised", "Building": "labelled", "Truncating": "cut", "Packing": "packed",
    "Dropping": "looked through", "Saving": "saved", "Converting": "converted",
}  # fmt: skip
"""First word of the descriptions of TRL and `datasets`, and what is said of rows that are done."""


class Progress:
    """Prints how far the work is, and touches `alive` only when some of it got done."""

    def __init__(self, alive: Path) -> None:
        self._alive = alive
        self._said = time.monotonic()
        self._touched = float("-inf")

    def sign(self) -> None:
        """Say that something got done."""
        if time.monotonic() - self._touched >= _TOUCH_S:
            self._touched = time.monotonic()
            self._alive.touch()

    def rows(self, what: str, done: int, total: int | None, seconds: float) -> None:
        """Say that `done` of `total` rows are done after `seconds` of it."""
        self.sign()
        if time.monotonic() - self._said < LINE_S:
            return
        self._said = time.monotonic()
        rate = done / seconds if seconds > 0 else 0.0
        of = f" of {total:,}" if total else ""
        left = f", {timedelta(seconds=int((total - done) / rate))} left" if total and rate else ""
        print(f"{what} {done:,}{of} rows, {rate:,.0f} rows/s{left}", flush=True)

    @contextmanager
    def instead_of_bars(self) -> Iterator[None]:
        """Hear from `datasets` what its progress bars would show, and show lines."""
        from datasets import arrow_dataset

        progress, bars = self, arrow_dataset.hf_tqdm

        class Lines(_Bar):
            def __init__(self, *_: Any, **options: Any) -> None:
                super().__init__(progress, options)

        arrow_dataset.hf_tqdm = Lines
        try:
            yield
        finally:
            arrow_dataset.hf_tqdm = bars


class _Bar:
    """The part of tqdm that `datasets` uses in `map`, `filter` and `save_to_disk`."""

    def __init__(self, progress: Progress, options: dict[str, Any]) -> None:
        words = str(options.get("desc") or "").split()
        self._what = _DONE.get(words[0], "done with") if words else "saved"
        self._progress, self._total = progress, options.get("total")
        self._done, self._began = 0, time.monotonic()
        self._before = options.get("initial") or 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, count: int = 1) -> None:
        self._done += count
        total = self._total - self._before if self._total else None
        self._progress.rows(self._what, self._done, total, time.monotonic() - self._began)

    def set_description(self, *_: object, **__: object) -> None:
        return None
