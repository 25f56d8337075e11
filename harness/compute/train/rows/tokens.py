"""Batches of rows to `input_ids` and `labels`: what `datasets.map` calls, in several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from harness.chats.render import Renderer, Tokens
from harness.chats.rows import plain_rows, why

IGNORED = -100
"""The label of a token that does not count in the loss."""


class BadRow(Exception):
    """A row that cannot be trained; its number is that of the rows which were given."""

    def __init__(self, number: int, reason: str) -> None:
        self.number, self.reason = number, reason
        super().__init__(number, reason)


@dataclass(frozen=True)
class Tokenise:
    """What makes an Arrow table of tokens of one of rows."""

    renderer: Renderer
    max_length: int | None
    """Rows are cut here, and those without a trained token left out; None: neither."""
    keep_end: bool = False

    def __call__(self, table: pa.Table, numbers: Sequence[int]) -> pa.Table:
        """Raises BadRow."""
        ids, labels = [], []
        for number, done in zip(numbers, self.renderer.rows(plain_rows(table)), strict=True):
            if isinstance(done, Exception):
                raise BadRow(number, why(done)) from done
            kept = self._cut(done)
            if kept is not None:
                ids.append(kept.ids)
                labels.append(
                    [i if m else IGNORED for i, m in zip(kept.ids, kept.mask, strict=True)]
                )
        kind = pa.list_(pa.int32())
        return pa.table({"input_ids": pa.array(ids, kind), "labels": pa.array(labels, kind)})

    def _cut(self, done: Tokens) -> Tokens | None:
        if self.max_length is None:
            return done
        part = slice(-self.max_length, None) if self.keep_end else slice(self.max_length)
        mask = done.mask[part]
        return Tokens(done.ids[part], mask) if any(mask) else None
