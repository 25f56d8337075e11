"""When a result counts: thresholds of the validity gates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config.base import Frozen

Verdict = Literal["warn", "invalid"]
"""`invalid` keeps a result out of the table and names why; `warn` shows it with a note."""


class GatesSpec(Frozen):
    """What must hold before a cell's metrics count. A hit is never silent."""

    max_error_share: float = Field(default=0.01, ge=0, le=1)
    """Share of requests that may fail; above it the cell is invalid, below each failure is noted."""
    max_truncated_share: float = Field(default=0.2, ge=0, le=1)
    """Share of answers that may be cut at max_tokens."""
    truncated: Verdict = "warn"
    """What more truncated answers than that do."""
    max_empty_share: float = Field(default=0.5, ge=0, le=1)
    """Share of answers that may be empty; all of them empty is invalid in any case."""
    empty: Verdict = "warn"
    """What more empty answers than that do."""
    zero: Verdict = "warn"
    """What a headline metric of exactly 0 does: a weak model, or a broken prompt or parser."""
    identical: Verdict = "invalid"
    """What the same answer to each of 3 or more items does."""
    template: Verdict = "invalid"
    """What a checkpoint does whose chat template is not the one that it was trained with."""
