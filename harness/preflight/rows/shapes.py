"""The shape of every row: roles in order, what contents are, calls, tools, fields that hold values.

A template fails on shapes, not on words: one row of each is enough to try, and the rare one is the
one that a sample misses. Shapes are counted by a hash of validity, lengths and a few words, over
whole Arrow batches; of texts no more is read than tells blank from not blank.
"""

from __future__ import annotations

import zlib
from collections import Counter
from typing import Any

from harness.chats.rows import is_json, is_list

TRIED = 500
"""Shapes of which a row is rendered."""
_KEPT = 50_000
"""Shapes that are told apart: tool calls can make one of every row."""
_WORDS = ("role", "type", "weight")
"""Fields whose values are part of the shape."""
_MANY = 3
"""Inside a turn, lists longer than this look alike."""
_ODD = 0x9E3779B97F4A7C15


class Shapes:
    """Rows by shape."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._count: Counter[int] = Counter()
        self.uncounted = 0
        """Rows of shapes beyond those that are told apart."""

    def __len__(self) -> int:
        return len(self._first)

    def add(self, columns: list[Any], offset: int) -> None:
        """Add the rows of a batch, whose first is number `offset`: Arrow arrays of equal length."""
        import numpy as np

        code: Any = np.zeros(len(columns[0]), np.uint64)
        for column in columns:
            code = _mixed(code) + shape_of(column, whole=True)
        found, first, counts = np.unique(code, return_index=True, return_counts=True)
        for key, row, count in zip(found.tolist(), first.tolist(), counts.tolist(), strict=True):
            if key not in self._first and len(self._first) >= _KEPT:
                self.uncounted += count
                continue
            self._first.setdefault(key, offset + row)
            self._count[key] += count

    def rarest(self, limit: int = TRIED) -> list[int]:
        """A row of each shape, by number: of the rarest shapes first."""
        ordered = sorted(self._first, key=lambda key: (self._count[key], self._first[key]))
        return [self._first[key] for key in ordered[:limit]]


def shape_of(array: Any, name: str = "", *, whole: bool = False) -> Any:
    """A number for each value of an Arrow array, alike for values of one shape (uint64).

    `whole`: every element of a list counts, in order.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if is_json(kind):
        array, kind = array.storage, array.storage.type
    if name in _WORDS and not (is_list(kind) or pa.types.is_struct(kind)):
        return _words(array)
    valid = valid_of(array).astype(np.uint64)
    if pa.types.is_struct(kind):
        code = valid
        for child, field in zip(array.flatten(), kind, strict=True):
            code = _mixed(code) + shape_of(child, field.name)
        return code
    if is_list(kind):
        return _list(array, valid, whole)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        lengths = numbers(pc.binary_length(array))
        code = valid + (lengths > 0)
        return code + _not_blank(array, lengths) if name == "content" else code
    return valid


def _list(array: Any, valid: Any, whole: bool) -> Any:
    import numpy as np
    import pyarrow.compute as pc

    lengths = numbers(pc.list_value_length(array))
    ends = np.cumsum(lengths)
    starts = ends - lengths
    elements = shape_of(pc.list_flatten(array))
    places = np.arange(len(elements)) - np.repeat(starts, lengths)
    if not whole:
        places = np.minimum(places, _MANY)
        lengths = np.minimum(lengths, _MANY)
    placed = _mixed(elements + places.astype(np.uint64) * np.uint64(_ODD))
    if not whole:
        placed = np.where(places < _MANY, placed, np.uint64(0))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(placed, dtype=np.uint64)])
    return _mixed(valid + lengths.astype(np.uint64)) + sums[ends] - sums[starts]


def _words(array: Any) -> Any:
    import numpy as np

    encoded = array.dictionary_encode()
    words = [zlib.crc32(str(word).encode()) + 2 for word in encoded.dictionary.to_pylist()]
    codes = np.array([1, *words], np.uint64)
    return codes[numbers(encoded.indices, null=-1) + 1]


def numbers(array: Any, null: int = 0) -> Any:
    """An Arrow array of int32 or int64 in numpy, as int64, with a number for null.

    By its buffers: Arrow's own way to numpy imports pandas, which takes longer than many rows.
    """
    import numpy as np

    if not len(array):
        return np.zeros(0, np.int64)
    width: Any = np.dtype(f"i{array.type.bit_width // 8}")
    values = np.frombuffer(array.buffers()[1], width)[array.offset : array.offset + len(array)]
    values = values.astype(np.int64)
    return np.where(valid_of(array), values, null) if array.null_count else values


def valid_of(array: Any) -> Any:
    """Where an Arrow array is not null (bool)."""
    import numpy as np

    if array.null_count in (0, len(array)):
        return np.full(len(array), array.null_count == 0)
    return _bits(array.buffers()[0], array)


def true_of(array: Any) -> Any:
    """Where an Arrow array of booleans is true (bool)."""
    import numpy as np

    return _bits(array.buffers()[1], array) & valid_of(array) if len(array) else np.zeros(0, bool)


def _bits(buffer: Any, array: Any) -> Any:
    import numpy as np

    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(bool)


def _not_blank(array: Any, lengths: Any) -> Any:
    """1 where a text holds more than blanks; only those that begin with one are looked through."""
    import numpy as np

    return ((lengths > 0) & ~blank(array)).astype(np.uint64)


def blank(array: Any) -> Any:
    """Where a text of an Arrow array is empty or only blanks; null is neither."""
    import numpy as np
    import pyarrow.compute as pc

    starts = pc.utf8_slice_codeunits(array, 0, 1)
    found = valid_of(array) & (numbers(pc.binary_length(array)) == 0)
    spaces = pc.utf8_is_space(starts)
    places = np.flatnonzero(true_of(spaces))
    if len(places):
        rest = pc.utf8_trim_whitespace(array.filter(spaces))
        found[places] = numbers(pc.binary_length(rest)) == 0
    return found


def _mixed(code: Any) -> Any:
    """Numbers stirred, so that sums of them tell their parts (splitmix64's finaliser)."""
    import numpy as np

    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))
