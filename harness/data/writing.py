"""Chats -> a saved dataset, in flat memory: written once wide, then with the fields that were used.

Calls, tools and template arguments are kept as datasets' Json(), as TRL's documentation advises:
structs would get the keys of all other rows as nulls, and templates would render them.
Tested through tests/data/test_convert.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.data.calls import as_json
from harness.data.shapes import KWARGS, Chat
from harness.errors import UserError

_TEXTS = ("role", "content", "reasoning_content", "name", "tool_call_id")
_ALWAYS = ("role", "content")
_FIELDS = (*_TEXTS, "tool_calls", "weight")
_ROWS, _CHARACTERS = 1000, 1 << 26
"""A batch is written at so many rows, or so many characters."""
Report = Callable[[str], None]


class ChatWriter:
    """Takes chats of several splits; `finish` leaves the dataset in `folder / "dataset"`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._used: set[str] = set()
        self._splits: dict[str | None, _Wide] = {}
        self._files = ExitStack()

    def __enter__(self) -> ChatWriter:
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, split: str | None, chat: Chat) -> None:
        """Write one row. Raises BadRow for what no dataset can hold."""
        turns = [_turn(turn) for turn in chat.messages]
        for turn in turns:
            self._used.update(turn)
        row: dict[str, Any] = {"messages": turns, "tools": None, KWARGS: None}
        if chat.tools:
            row["tools"] = [as_json(tool, "a tool") for tool in chat.tools]
            self._used.add("tools")
        if chat.kwargs:
            row[KWARGS] = as_json(chat.kwargs, KWARGS)
            self._used.add(KWARGS)
        if split not in self._splits:
            path = self.folder / f"{len(self._splits)}.wide"
            self._splits[split] = self._files.enter_context(_Wide(path))
        self._splits[split].add(row)

    def finish(self) -> Path:
        """The folder with the dataset. Raises UserError where `datasets` is too old, or OSError."""
        from datasets import Dataset, DatasetDict, disable_progress_bars

        disable_progress_bars()  # lines of progress are printed as rows are read
        self._files.close()
        features = _features(self._used)
        made = {}
        for number, (split, wide) in enumerate(self._splits.items()):
            path = self.folder / f"{number}.arrow"
            _narrow(wide.path, path, features)
            wide.path.unlink()
            made[split] = Dataset.from_file(str(path))
        target = self.folder / "dataset"
        (made[None] if set(made) == {None} else DatasetDict(made)).save_to_disk(target)
        return target


class _Wide:
    """An Arrow file with a place for every field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._characters = 0

    def __enter__(self) -> _Wide:
        import pyarrow as pa

        turn = [(name, pa.string()) for name in _TEXTS]
        turn += [("tool_calls", pa.list_(pa.string())), ("weight", pa.float64())]
        self._schema = pa.schema(
            {
                "messages": pa.list_(pa.struct(turn)),
                "tools": pa.list_(pa.string()),
                KWARGS: pa.string(),
            }
        )
        self._writer = pa.ipc.new_stream(str(self.path), self._schema)
        return self

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._characters += sum(len(turn["content"] or "") for turn in row["messages"])
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, self._schema))
        self._rows, self._characters = [], 0

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    made = {name: turn[name] for name in _FIELDS if turn.get(name) is not None}
    made.setdefault("content", None)
    if "tool_calls" in made:
        made["tool_calls"] = [as_json(call, "a call") for call in made["tool_calls"]]
    return made


def _features(used: set[str]) -> Any:
    import datasets
    from datasets import Features, List, Value

    if used & {"tool_calls", "tools", KWARGS} and not hasattr(datasets, "Json"):
        cure = "pip install -U datasets"
        raise UserError(
            f"datasets {datasets.__version__} has no Json(), which keeps tools and calls\n{cure}"
        )
    turn: dict[str, Any] = {n: Value("string") for n in _TEXTS if n in used or n in _ALWAYS}
    if "tool_calls" in used:
        turn["tool_calls"] = List(datasets.Json())
    if "weight" in used:
        turn["weight"] = Value("float64")
    columns: dict[str, Any] = {"messages": List(turn)}
    if "tools" in used:
        columns["tools"] = List(datasets.Json())
    if KWARGS in used:
        columns[KWARGS] = datasets.Json()
    return Features(columns)


def _narrow(wide: Path, path: Path, features: Any) -> None:
    """Copy the columns and fields of `features`."""
    import pyarrow as pa
    from datasets.arrow_writer import ArrowWriter

    schema = features.arrow_schema
    with pa.memory_map(str(wide)) as source, ArrowWriter(path=str(path), features=features) as to:
        for batch in pa.ipc.open_stream(source):
            columns = [_as(batch.column(field.name), field.type) for field in schema]
            to.write_table(pa.Table.from_arrays(columns, names=schema.names))
        to.finalize()


def _as(array: Any, kind: Any) -> Any:
    """An array with fewer fields, and its texts of JSON marked as such."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, array.cast(kind.storage_type))
    if pa.types.is_list(kind):
        inner = _as(array.values, kind.value_type)
        return pa.ListArray.from_arrays(array.offsets, inner, type=kind, mask=array.is_null())
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        parts = [_as(array.field(field.name), field.type) for field in fields]
        return pa.StructArray.from_arrays(parts, fields=fields)
    return array
