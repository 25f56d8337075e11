"""When a result counts: thresholds of the validity gates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config.base import Frozen

Verdict = Literal["warn", "invalid"]
"""`invalid` keeps a result out of the table and names why; `warn` shows it with a note."""


class GatesSpec(Frozen):
    """What must hold before a cell's metrics count. A hit is never silent.

    Failed requests and answers that are aborted, empty, only thought or cut are noted with their
    number, however few; the shares say from where on they are more than a note.
    """

    max_error_share: float = Field(default=0.01, ge=0, le=1)
    """Share of requests that may fail; above it the cell is invalid."""
    max_aborted_share: float = Field(default=0.01, ge=0, le=1)
    """Share of answers that the server, a filter or an error may end (`finish_reason`)."""
    aborted: Verdict = "invalid"
    """What more aborted answers than that do."""
    max_truncated_share: float = Field(default=0.2, ge=0, le=1)
    """Share of answers that may be cut at max_tokens."""
    truncated: Verdict = "warn"
    """What more truncated answers than that do."""
    max_empty_share: float = Field(default=0.5, ge=0, le=1)
    """Share of answers that may be empty; none with any content is invalid in any case."""
    empty: Verdict = "warn"
    """What more empty answers than that do."""
    max_thought_share: float = Field(default=0.5, ge=0, le=1)
    """Share of answers that may be thought alone: ended, without content, their text kept apart by
    the server's reasoning parser."""
    thought: Verdict = "invalid"
    """What more answers of thought alone than that do."""
    zero: Verdict = "warn"
    """What a headline metric of exactly 0 does: a weak model, or a broken prompt or parser."""
    identical: Verdict = "invalid"
    """What the same answer to each of 3 or more items does."""
    template: Verdict = "invalid"
    """What a checkpoint does whose chat template is not the one that it was trained with."""
