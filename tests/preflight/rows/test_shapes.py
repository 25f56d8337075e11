"""Rows by shape: alike where a template treats them alike."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from harness.preflight.rows.shapes import Shapes, blank, numbers, true_of, valid_of
from tests.preflight.support import turn

CALL = pa.struct([("name", pa.string()), ("arguments", pa.struct([("a", pa.int64())]))])
KIND = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(CALL))])
)
CALLED = [{"name": "f", "arguments": {"a": 1}}]


def shapes(*rows: Any, kind: Any = KIND) -> Shapes:
    found = Shapes()
    for number, row in enumerate(rows):  # a batch for each: numbers count on
        found.add([pa.array([row], kind)], number)
    return found


def answer(content: str | None, calls: Any = None) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "?"},
            {"role": "assistant", "content": content, "tool_calls": calls}]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        None, [], answer(None), answer(""), answer(" \n\t"), answer("x", CALLED),
        answer("x", [{"name": "f", "arguments": None}]), answer("x", CALLED * 2),
        answer("x")[::-1], answer("x") * 2, [{"role": "tool", "content": "x"}, answer("x")[1]],
    ],
)  # fmt: skip
def test_what_a_template_may_fail_on_is_another_shape(other: Any) -> None:
    assert len(shapes(answer("x"), answer("other words"), other)) == 2


def test_one_row_of_each_shape_is_given_the_rarest_first() -> None:
    rows = [answer("x")] * 3 + [answer(None)] + [answer("")] * 2 + [answer("z")]
    assert shapes(*rows).rarest() == [3, 4, 0]
    assert shapes(*rows).rarest(1) == [3]


def test_a_batch_is_as_its_rows_one_by_one() -> None:
    rows = [answer("x"), None, answer(None, CALLED), [], answer(" ")]
    whole = Shapes()
    whole.add([pa.array([[], *rows], KIND).slice(1)], 0)
    assert sorted(whole.rarest()) == [0, 1, 2, 3, 4]
    one_by_one = shapes(*rows)
    assert sorted(one_by_one.rarest()) == [0, 1, 2, 3, 4]


def test_shapes_beyond_what_is_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.preflight.rows.shapes._KEPT", 2)
    found = shapes(answer("x"), answer(None), answer(""), answer(""), answer("y"))
    assert (len(found), found.uncounted) == (2, 2)


def test_arrow_to_numpy_by_its_buffers() -> None:
    array = pa.array([9, 1, None, 3], pa.int32()).slice(1)
    assert numbers(array, null=-1).tolist() == [1, -1, 3]
    assert valid_of(array).tolist() == [True, False, True]
    assert valid_of(pa.nulls(2)).tolist() == [False, False]
    flags = pa.array([False, True, None, False, True]).slice(1)
    assert true_of(flags).tolist() == [True, False, False, True]
    assert numbers(pa.array([], pa.int64())).tolist() == []


def test_blanks_are_told_from_words() -> None:
    texts = pa.array(["", "x", None, " ", " x", "\u00a0\n" * 40, "x "])
    assert blank(texts).tolist() == [True, False, False, True, False, True, False]
    assert turn() is not None
