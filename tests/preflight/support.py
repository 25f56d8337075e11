"""Models and datasets for the checks: a real tokenizer, real safetensors headers, real Arrow."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.support import ROOT
from tests.tiny_model import make_tiny_tokenizer

TEMPLATES = ROOT / "templates" / "chat"
MARKED = (TEMPLATES / "chatml.jinja").read_text(encoding="utf-8")
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
MESSAGES = pa.list_(MESSAGE)

Row = list[dict[str, Any]] | None


def turn(question: str | None = "What is 2 + 3?", answer: str | None = "It is 5.") -> Row:
    """One question and its answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def saved_dataset(
    folder: Path,
    rows: int = 10,
    columns: tuple[str, ...] = ("messages",),
    *,
    messages: list[Row] | None = None,
    kind: Any = MESSAGES,
) -> Path:
    """What `save_to_disk` writes, as far as it is read here; `messages` are the rows themselves."""
    folder.mkdir(parents=True)
    values = messages if messages is not None else [turn(f"What is {i} + 1?") for i in range(rows)]
    texts = [str(i) for i in range(len(values))]
    table = pa.table({c: pa.array(values, kind) if c == "messages" else texts for c in columns})
    with pa.ipc.new_stream(folder / "data.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {c: {} for c in columns}}))
    return folder


@lru_cache(maxsize=1)
def _tokenizer() -> Path:
    return make_tiny_tokenizer(Path(tempfile.mkdtemp(prefix="tokenizer-")))


def write_weights(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file of float32 tensors: a true header, and a hole on disk for the data."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)


def model(folder: Path) -> Path:
    """A model's folder with a real tokenizer; its weights are a hole."""
    folder.mkdir(parents=True)
    for file in _tokenizer().iterdir():
        shutil.copy(file, folder)
    shape = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 448,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "eos_token_id": 0,
        "tie_word_embeddings": True, "dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(shape))
    write_weights(folder / "model.safetensors", {"embed": (448, 64), "layers": (2, 50_000)})
    return folder
