"""Batches of rows to tokens and labels."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from harness.chats.render import Tokens
from harness.chats.rows import RowProblem
from harness.compute.train.rows.tokens import BadRow, Tokenise


class Rows:
    """A renderer: the tokens are in the row, those above 9 are trained."""

    def rows(self, rows: list[dict[str, Any]]) -> list[Any]:
        return [
            Tokens(row["ids"], [int(i > 9) for i in row["ids"]])
            if row["ids"]
            else RowProblem("none")
            for row in rows
        ]


def made(ids: list[list[int]], **options: Any) -> list[dict[str, Any]]:
    make = Tokenise(Rows(), **{"max_length": 3, **options})  # type: ignore[arg-type]
    rows: list[dict[str, Any]] = make(pa.table({"ids": ids}), range(7, 7 + len(ids))).to_pylist()
    return rows


def test_rows_are_cut_and_those_that_are_not_trained_left_out() -> None:
    rows = [[1, 11, 12, 13], [1, 2, 3, 14], [15]]
    assert made(rows) == [
        {"input_ids": [1, 11, 12], "labels": [-100, 11, 12]},
        {"input_ids": [15], "labels": [15]},
    ]
    assert [row["input_ids"] for row in made(rows, keep_end=True)] == [
        [11, 12, 13], [2, 3, 14], [15],
    ]  # fmt: skip
    assert [row["input_ids"] for row in made(rows, max_length=None)] == rows


def test_a_bad_row_is_named_by_its_number() -> None:
    with pytest.raises(BadRow) as caught:
        made([[11], []])
    assert (caught.value.number, caught.value.reason) == (8, "none")
