"""Values from a program arrive as what they consist of; nothing that acts arrives at all."""

from __future__ import annotations

import math
import os
import pickle
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compute.evaluate.graders.code_values import PROTOCOL, packed, unpacked

Point = namedtuple("Point", "x y")
Level = IntEnum("Level", "low high")


def through(value: Any, **how: bool) -> Any:
    return unpacked(packed(value, **how))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(value=PLAIN)
def test_what_is_plain_comes_through_as_it_is(value: Any) -> None:
    found = through(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({1, 2}, {1, 2}),
        (frozenset("ab"), frozenset("ab")),
        ({(1, "a"): [{}]}, {(1, "a"): [{}]}),
        (Point(1, [2]), (1, [2])),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        ({1: 2}.keys(), {1}),
        ({1: 2}.items(), {(1, 2)}),
        (bytearray(b"a"), b"a"),
        (range(3), range(3)),
        (deque([1, [2]]), deque([1, [2]])),
        (Level.high, 2),
        (Fraction(1, 3), Fraction(1, 3)),
        (Decimal("0.10"), Decimal("0.1")),
        (-0.0, 0.0),
    ],
)
def test_what_equals_the_expected_value_still_does(value: Any, plain: Any) -> None:
    assert through(value) == plain
    assert isinstance(through(value), type(plain))


def test_large_numbers_and_odd_texts_come_through() -> None:
    for value in (10**5000, "\ud83d", "\x00", float("inf")):
        assert through(value) == through([value])[0] == value


def test_numbers_of_numpy_stay_numpys() -> None:
    import numpy as np

    for value in (np.int64(3), np.bool_(True), np.float32(0.5), np.complex64(1j)):
        assert through(value) == value
        assert through(value).dtype == value.dtype
    assert through(np.float64(0.1)) == 0.1
    array = np.arange(6.0).reshape(2, 3)
    assert (through(array) == array).all() and through(array).shape == (2, 3)
    assert through(np.empty((0, 3))).shape == (0, 3)
    words = through(np.array(["a", "bc"]))
    assert words.tolist() == ["a", "bc"]
    mixed = through(np.array([[1, "a"], [None, [2]]], dtype=object))
    assert mixed.tolist() == [[1, "a"], [None, [2]]]
    assert math.isnan(through(np.float64("nan")))


class Liar:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value", [Liar(), (x for x in "ab"), iter([1]), lambda: 1, int, object(), map(str, [1]), ...]
)
def test_anything_else_equals_nothing_and_is_something(value: Any) -> None:
    found = through(value)
    assert found is not None
    assert found != [1] and found != 1 and found != ["a", "b"]


class ListLiar(list):  # type: ignore[type-arg]
    def __eq__(self, other: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter([42])

    __hash__ = None  # type: ignore[assignment]


def test_a_subclass_is_what_it_holds() -> None:
    assert through(ListLiar([1])) == [1]
    assert through([Liar()]) != [1]
    assert through({"a": Liar()}) != {"a": 1}


def test_where_sets_are_compared_any_iterable_is_one() -> None:
    assert set(through(iter([1, 2]), as_set=True)) == {1, 2}
    assert set(through(filter(None, (0, 3)), as_set=True)) == {3}
    assert set(through("ab", as_set=True)) == {"a", "b"}


class Code:
    def __reduce__(self) -> Any:
        return os.system, ("touch left-behind",)


NO_VALUES = [
    pickle.dumps(Code()),
    pickle.dumps(("list", [Code()])),
    pickle.dumps(Liar, PROTOCOL),
    pickle.dumps([1, 2]),  # a list by itself has no kind
    pickle.dumps(("what", [])),
    pickle.dumps(("range", ["a"])),
    pickle.dumps(("array", ["O", [1], b"12345678"])),
    pickle.dumps(("array", ["<i8", [5], b"1"])),
    pickle.dumps(("dict", [1])),
    pickle.dumps(("set", [("list", [])])),
    b"",
    b"\x80\x04",
    b"junk",
    b"Pname\n.",
    b"\x82\x01.",
]


@pytest.mark.parametrize("data", NO_VALUES, ids=map(str, range(len(NO_VALUES))))
def test_bytes_that_are_no_value_are_refused_and_nothing_happens(
    data: bytes, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        unpacked(data)
    assert isinstance(caught.value, Exception)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_holds_itself_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        packed(loop)
