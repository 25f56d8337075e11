"""The size and shape of a model, from its config.json and safetensors headers. No torch.

Format: a safetensors file begins with 8 bytes (little-endian length) and a JSON object that gives
dtype and shape of each tensor (github.com/huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from harness.errors import ResultError
from harness.runs.files import read_json

_MAX_HEADER = 100_000_000
"""The format's own limit, bytes."""


@dataclass(frozen=True)
class ModelShape:
    """What memory and disk depend on; the names are config.json's."""

    parameters: int
    """Tied weights are counted once, as they are saved."""
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    query_size: int
    """num_attention_heads x head_dim."""
    key_value_size: int
    """num_key_value_heads x head_dim."""
    vocab_size: int
    embeddings: int
    """Parameters of the embedding, and of the LM head where it is not tied to it."""
    dtype: str
    """Of the saved weights, e.g. bfloat16; what `model_dtype: auto` takes."""


def count_parameters(folder: Path, tied: bool = False) -> int | None:
    """Parameters in a folder's safetensors files; None where there are none.

    A tied LM head is not counted, though some files hold it again. Raises ResultError when a
    header cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    return sum(_count(file, tied) for file in files) if files else None


def _count(file: Path, tied: bool) -> int:
    left_out = {"lm_head.weight"} if tied else set()
    return sum(prod(shape) for name, shape in _header(file).items() if name not in left_out)


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a folder's safetensors files; empty where there are none.

    Raises ResultError when a header cannot be read.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= _header(file)
    return found


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > _MAX_HEADER:
                raise ValueError(f"a header of {size} bytes")
            header: dict[str, Any] = json.loads(stream.read(size))
        return {n: tuple(e["shape"]) for n, e in header.items() if n != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as problem:
        raise ResultError(f"{file}: not a whole safetensors file: {problem}") from None


def read_shape(folder: Path) -> ModelShape | None:
    """Shape of the model in a folder; None where its config names other fields (not a decoder
    like Llama's, Qwen's or Mistral's) or its weights are not there.

    Raises ResultError for a damaged file.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        return None
    inner = config.get("text_config")
    outer, config = config, inner if isinstance(inner, dict) and inner else config
    # A language model is made of the inner part. An unset word means what PretrainedConfig takes: tied.
    tied = bool(config.get("tie_word_embeddings", outer.get("tie_word_embeddings", True)))
    parameters = count_parameters(folder, tied)
    if parameters is None:
        return None
    try:
        heads = int(config["num_attention_heads"])
        head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
        return ModelShape(
            parameters=parameters,
            hidden_size=int(config["hidden_size"]),
            intermediate_size=int(config["intermediate_size"]),
            num_hidden_layers=int(config["num_hidden_layers"]),
            query_size=heads * head_dim,
            key_value_size=int(config.get("num_key_value_heads") or heads) * head_dim,
            vocab_size=int(config["vocab_size"]),
            embeddings=int(config["vocab_size"]) * int(config["hidden_size"]) * (1 if tied else 2),
            dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
