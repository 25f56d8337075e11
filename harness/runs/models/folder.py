"""What a model's folder says of itself: limits, sizes, and whether its files are whole.

Read without torch or transformers, so that a login node can ask before anything queues.
"""

from __future__ import annotations

import json
import os
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from harness.config.base import path_problem
from harness.errors import ResultError
from harness.runs.files import read_json, read_object

# vLLM 0.32, transformers_utils/model_arch_config_convertor.py: derive_max_model_len_and_key and
# get_total_num_kv_heads.
_LENGTH_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_target_positions", "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
_KV_HEAD_KEYS = (
    "n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num",
    "num_attention_groups",
)  # fmt: skip
# RoPE kinds whose max_position_embeddings is scaled already (vLLM 0.32, config/model.py).
_SCALED_ROPE = (
    "su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default",
)  # fmt: skip
_MAX_HEADER = 100_000_000
"""Bytes that a safetensors header may have (the format's own limit)."""


def find_model(name: str) -> Path | None:
    """Where the model lies on this machine: its folder, or its snapshot in the Hub's cache."""
    return Path(name) if os.path.isdir(name) else cached_snapshot(name)


def cached_snapshot(name: str) -> Path | None:
    """The newest snapshot with a config.json in the Hub's cache (huggingface_hub's layout)."""
    if path_problem(folder := f"models--{name.replace('/', '--')}"):
        return None
    home = os.path.expanduser(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub"))
    found = (cache / folder / "snapshots").glob("*/config.json")
    # Since Python 3.13 a link whose file is gone matches, too.
    snapshots = sorted((p for p in found if p.is_file()), key=lambda path: path.stat().st_mtime)
    return snapshots[-1].parent if snapshots else None


def text_config(folder: Path) -> dict[str, Any]:
    """config.json, or the part of it that is about text. Raises ResultError."""
    config = read_object(folder / "config.json")
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def model_limit(folder: Path) -> int | None:
    """Tokens that the model can take, by vLLM's rule; None where its files do not say."""
    config = text_config(folder)
    lengths = [v for key in _LENGTH_KEYS if (v := _size(config.get(key)))]
    own = _size(config.get("model_max_length"))
    if own is None and not lengths:
        return None
    limit = float(own or min(lengths))
    tokenizer = folder / "tokenizer_config.json"
    said = read_object(tokenizer).get("model_max_length") if tokenizer.is_file() else None
    if is_number(said):  # 1e30 stands for "no limit"
        limit = min(limit, said)
    return int(limit * _rope_factor(config))


def _size(value: Any) -> int | None:
    """A size in a configuration: a whole number above 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value of a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _rope_factor(config: dict[str, Any]) -> float:
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(rope, dict) or "gemma3" in str(config.get("model_type")):
        return 1.0
    factor = 1.0
    # One set of parameters, or one for each kind of layer.
    for part in [r for r in rope.values() if isinstance(r, dict)] or [rope]:
        kind, given = part.get("rope_type", part.get("type", "default")), part.get("factor")
        if kind not in _SCALED_ROPE:
            factor = float(given) if given and is_number(given) else 1.0
    return factor


def attention_heads(config: dict[str, Any]) -> tuple[int | None, int | None]:
    """Attention heads and key-value heads; None where the configuration does not say."""
    heads = config.get("num_attention_heads", config.get("n_head"))
    heads = heads if isinstance(heads, int) else None
    kv = next((v for key in _KV_HEAD_KEYS if isinstance(v := config.get(key), int)), heads)
    return heads, kv


def has_tokenizer(folder: Path) -> bool:
    """Whether one of the usual tokenizer files is there."""
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt")
    return any((folder / name).is_file() for name in names)


def broken_weights(folder: Path) -> list[str]:
    """What is wrong with the weights' files, one line each; an empty list when they are whole.

    Checked: shards that an index names are there; each safetensors file has the size that its
    header gives (8 bytes of length, the header, the tensors; huggingface/safetensors, README).
    """
    problems = []
    shards: set[str] = set()
    for index in sorted(folder.glob("*.index.json")):
        try:
            named = read_json(index)["weight_map"]
            shards |= set(named.values())
        except (ResultError, KeyError, TypeError, AttributeError):
            problems.append(f"{index.name} cannot be read")
    missing = sorted(name for name in shards if not (folder / name).is_file())
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        problems.append(f"of {len(shards)} files of weights {len(missing)} are missing: {shown}")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and not shards and not any(folder.glob("*.bin")):
        problems.append("no weights (*.safetensors) in it")
    return problems + [text for path in weights if (text := _broken_safetensors(path))]


def _broken_safetensors(path: Path) -> str:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(_MAX_HEADER, size - 8):
                return f"{path.name} ({size} bytes) is cut off inside its header"
            header = json.loads(file.read(length))
        ends = [e["data_offsets"][1] for name, e in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return f"{path.name} cannot be read: {error}"
    return "" if size == expected else f"{path.name} has {size} bytes of {expected}"
