"""What a LoRA adapter's files say of it, read without torch.

PEFT 0.18 writes `adapter_model.safetensors`: of each layer it changes `….lora_A.weight` and
`….lora_B.weight` (or `lora_embedding_A` and `_B`); the change is B times A, scaled by
`lora_alpha / r` of adapter_config.json. B is zero until the first step of training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from harness.errors import ResultError
from harness.runs.checkpoints import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from harness.runs.files import read_json

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_CHUNK = 1 << 22
_FACTORS = ((".lora_A.", ".lora_B."), (".lora_embedding_A", ".lora_embedding_B"))


def changes_nothing(folder: Path) -> bool:
    """Whether an adapter is zero: of each of its layers one factor, or the scaling, is.

    False where its weights cannot be read this way. Raises ResultError for a torn file.
    """
    weights = folder / ADAPTER_WEIGHTS
    if not weights.is_file():
        return False
    config = read_json(folder / ADAPTER_CONFIG)
    if config.get("lora_alpha") == 0 and not config.get("alpha_pattern"):
        return True
    zeros: dict[str, bool] = {}
    for name, is_zero in _tensors(weights):
        layer = _layer(name)
        if layer is None:
            return False  # something else than the factors: a bias, a head, a magnitude
        zeros[layer] = zeros.get(layer, False) or is_zero
    return bool(zeros) and all(zeros.values())


def _layer(tensor: str) -> str | None:
    """What the two factors of a layer have in common; None for a tensor that is neither."""
    for first, second in _FACTORS:
        for factor in (first, second):
            if factor in tensor:
                return tensor.replace(factor, first)
    return None


def identity(folder: Path) -> str:
    """What tells an adapter's weights from another's: equal for equal files and scaling.

    Raises ResultError when it has no weights.
    """
    config = read_json(folder / ADAPTER_CONFIG)
    scaling = {name: config.get(name) for name in ("r", "lora_alpha", "use_rslora",
               "rank_pattern", "alpha_pattern")}  # fmt: skip
    digest = hashlib.sha256(json.dumps(scaling, sort_keys=True).encode())
    files = sorted(folder.glob("adapter_model.*"))
    if not files:
        raise ResultError(f"{folder}: no adapter_model.safetensors in it")
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _tensors(path: Path) -> Iterator[tuple[str, bool]]:
    """Name of each tensor, and whether all of it is zero."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if 8 + length > path.stat().st_size:
                raise ValueError("it is cut off inside its header")
            header = json.loads(file.read(length))
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                data = file.read(end - begin)
                if len(data) < end - begin:
                    raise ValueError("it is cut off")
                yield name, _is_zero(data, _BYTES.get(entry["dtype"], 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"{path}: cannot be read: {error}") from None


def _is_zero(data: bytes, size: int) -> bool:
    """Whether numbers of `size` bytes (little-endian IEEE 754) are all 0 or -0."""
    if size == 0 or not data.strip(b"\0"):
        return not data.strip(b"\0")
    signs = data[size - 1 :: size].replace(b"\x80", b"\0")
    return not signs.strip(b"\0") and not any(data[at::size].strip(b"\0") for at in range(size - 1))
