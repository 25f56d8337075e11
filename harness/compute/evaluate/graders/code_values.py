"""Values of a program, on their way to where they are compared: plain data, and nothing that acts.

A program may return objects whose comparison lies. So its process sends what a value consists of
(`packed`), and the process that compares builds a value of Python's and numpy's own types from that
(`unpacked`): its unpickler knows no class and no function. Whatever else a program returns arrives as
an object that equals nothing.
"""

from __future__ import annotations

import io
import numbers
import pickle
from collections import deque
from collections.abc import ItemsView, Iterable, KeysView
from decimal import Decimal
from fractions import Fraction
from typing import Any

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_NUMBERS = "biufc"
"""numpy's kinds of plain numbers."""
PROTOCOL = 4


def packed(value: Any, *, as_set: bool = False) -> bytes:
    """A value as bytes. `as_set`: it will be compared as a set, so that any iterable is one.

    Runs beside the program: what it yields is not to be trusted. Raises RecursionError for a value
    that holds itself.
    """
    parts = _parts(value)
    if as_set and parts == _OTHER and isinstance(value, Iterable):
        parts = _parts(list(value))
    return pickle.dumps(parts, PROTOCOL)


def unpacked(data: bytes) -> Any:
    """The value again. Raises ValueError, TypeError or pickle.UnpicklingError for other bytes."""
    return _built(_Plain(io.BytesIO(data)).load())


_OTHER = ("other",)


def _parts(value: Any) -> Any:
    """Plain values as they are, all else as (kind, content)."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    for base, plain in _BASES:
        if isinstance(value, base):
            return plain(value)
    for name, base in _CONTAINERS:
        if isinstance(value, base):
            return name, _all(base.__iter__(value))
    if isinstance(value, dict):
        return "dict", [(_parts(k), _parts(v)) for k, v in dict.items(value)]
    if isinstance(value, KeysView | ItemsView):
        return "set", _all(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, range):
        return "range", [value.start, value.stop, value.step]
    return _number(value)


_BASES: tuple[tuple[Any, Any], ...] = (
    (int, int), (float, float), (str, str.__str__), (bytes, bytes),
)  # fmt: skip
"""Of an object of a subclass, what makes the plain value."""
_CONTAINERS: tuple[tuple[str, Any], ...] = (
    ("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset), ("deque", deque),
)  # fmt: skip


def _all(values: Iterable[Any]) -> list[Any]:
    kept = list(values)
    return kept if _PLAIN.issuperset(map(type, kept)) else [_parts(value) for value in kept]


def _number(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind in _NUMBERS:
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            return kind, [array.dtype.str, list(array.shape), array.tobytes()]
        return "objects", [list(array.shape), _all(array.ravel().tolist())]
    if isinstance(value, Decimal):
        return "decimal", str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Rational):
        return "fraction", [int(value.numerator), int(value.denominator)]
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, numbers.Complex):
        number = complex(value)
        return "complex", [number.real, number.imag]
    return _OTHER


class _Plain(pickle.Unpickler):
    """Lists, tuples, numbers and texts; asked for anything with a name it refuses."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference is no plain value")


def _built(parts: Any) -> Any:
    if type(parts) is not tuple:
        if type(parts) not in _PLAIN:
            raise ValueError("no plain value")
        return parts
    if parts == _OTHER:
        return object()
    kind, content = parts
    return _BUILDERS[kind](content)


def _each(content: Any) -> Any:
    if _PLAIN.issuperset(map(type, content)):
        return content
    return [_built(part) for part in content]


def _array(content: Any) -> Any:
    import numpy as np

    dtype, shape, data = content
    kind: Any = np.dtype(str(dtype))
    if kind.kind not in _NUMBERS:
        raise ValueError("no numbers")
    return (np.frombuffer(data, kind) if data else np.empty(0, kind)).reshape(shape)


def _objects(content: Any) -> Any:
    import numpy as np

    shape, values = content
    array: Any = np.empty(len(values), dtype=object)
    array[:] = _each(values)
    return array.reshape(shape)


_BUILDERS: dict[str, Any] = {
    "list": lambda content: list(_each(content)),
    "tuple": lambda content: tuple(_each(content)),
    "set": lambda content: set(_each(content)),
    "frozenset": lambda content: frozenset(_each(content)),
    "deque": lambda content: deque(_each(content)),
    "dict": lambda content: {_built(key): _built(value) for key, value in content},
    "range": lambda content: range(*content),
    "decimal": lambda content: Decimal(content),
    "fraction": lambda content: Fraction(*content),
    "complex": lambda content: complex(*content),
    "array": _array,
    "scalar": lambda content: _array(content)[()],
    "objects": _objects,
}
