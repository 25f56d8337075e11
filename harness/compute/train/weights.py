"""Does a checkpoint hold the whole model? Counted, because each way of sharding can leave parts out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from harness.errors import ResultError, TrainingError
from harness.runs.checkpoints import ADAPTER_WEIGHTS, is_adapter
from harness.runs.files import read_json

INDEX = "model.safetensors.index.json"


def trained_elements(model: Any) -> int:
    """Numbers that a checkpoint must hold: all parameters, or an adapter's trainable ones.

    A parameter that two layers share counts once. Call it before the model is sharded by FSDP;
    ZeRO-3's parameters, which are sharded from the start, tell their real size in `ds_numel`.
    """
    parameters = list(model.parameters())
    if hasattr(model, "peft_config"):
        parameters = [p for p in parameters if p.requires_grad]
    return sum(int(getattr(p, "ds_numel", p.numel())) for p in parameters)


def check_whole(checkpoint: Path, expected: int) -> None:
    """Raise TrainingError unless the weights are readable, not empty and as many as expected.

    More than expected is fine: shared parameters may be written twice.
    """
    try:
        shapes = [shape for file in weight_files(checkpoint) for shape in read_shapes(file)]
    except (ResultError, SafetensorError, OSError) as error:
        raise TrainingError(f"{checkpoint}: its weights cannot be read: {error}") from error
    found = sum(math.prod(shape) for shape in shapes)
    if found < expected or any(0 in shape for shape in shapes):
        raise TrainingError(
            f"{checkpoint}: holds {found:,} of the model's {expected:,} weights: only shards were "
            "saved, and no server could load it"
        )


def weight_files(checkpoint: Path) -> list[Path]:
    """The safetensors files of a model or an adapter. Raises ResultError for an unreadable index."""
    if is_adapter(checkpoint):
        return [checkpoint / ADAPTER_WEIGHTS]
    if not (checkpoint / INDEX).is_file():
        return [checkpoint / "model.safetensors"]
    names: Iterable[str] = read_json(checkpoint / INDEX)["weight_map"].values()
    return [checkpoint / name for name in sorted(set(names))]


def read_shapes(file: Path) -> list[list[int]]:
    """Shapes of the tensors in a safetensors file, from its header; the rest is not read."""
    with safe_open(file, "pt") as tensors:
        return [list(tensors.get_slice(name).get_shape()) for name in tensors.keys()]  # noqa: SIM118
