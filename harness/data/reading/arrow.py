"""Arrow batches -> rows as Python values. Tested through tests/data/reading/test_files.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

Decoder = Callable[[Any], Any]


def rows_of(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows of a record batch or table: Json columns as values, structs without their nulls.

    Arrow gives every struct the keys of all others as nulls, so that they say nothing.
    """
    decoders = {
        field.name: decode for field in batch.schema if (decode := _decoder(field.type)) is not None
    }
    for row in batch.to_pylist():
        for name, decode in decoders.items():
            row[name] = decode(row[name])
        yield row


def _decoder(kind: Any) -> Decoder | None:
    """What makes a value of an Arrow type out of pyarrow's; None where they are the same."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.json":
            return lambda value: None if value is None else json.loads(value)
        return _decoder(kind.storage_type)
    if pa.types.is_struct(kind):
        return _of_struct({kind.field(i).name: _decoder(kind.field(i).type)
                           for i in range(kind.num_fields)})  # fmt: skip
    if pa.types.is_map(kind):
        return lambda value: None if value is None else dict(value)
    if any(
        test(kind)
        for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    ):
        inner = _decoder(kind.value_type)
        if inner is not None:
            return lambda value: None if value is None else [inner(each) for each in value]
    return None


def _of_struct(inner: dict[str, Decoder | None]) -> Decoder:
    def decode(value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {
            name: each if (made := inner[name]) is None else made(each)
            for name, each in value.items()
            if each is not None
        }

    return decode
