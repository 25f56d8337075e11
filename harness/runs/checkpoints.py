"""Which checkpoints of a training run are whole: the marker, and what it says.

The Trainer writes a checkpoint in place, file by file, so a folder's name proves nothing.
A checkpoint counts only with its marker, written last, after every rank has written its part.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import ResultError
from harness.runs.files import read_json, utc_now, write_json
from harness.runs.paths import COMPLETE_MARKER, checkpoint_step, step_of_name

_FINGERPRINT_BYTES = 1 << 20
RESUME_FILES = (
    "optimizer.pt", "optimizer.bin", "optimizer_[0-9]*", "scheduler.pt", "scaler.pt",
    "rng_state*.pth", "global_step[0-9]*",
)  # fmt: skip
"""What the Trainer, FSDP and DeepSpeed save only to go on training (transformers 5.23)."""
_CONFIGS = ("config.json", "generation_config.json", "chat_template.jinja")
_NO_WEIGHTS = ("training_args", "optimizer", "pytorch_model_fsdp")
"""What else ends in `.bin`; FSDP keeps a copy of the weights of its own for resuming."""
MODEL_ONLY = "model_only"
"""In a marker: neither optimizer nor schedule was saved."""
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""PEFT's own names."""


def is_adapter(model: Path) -> bool:
    """Whether a folder holds a LoRA adapter, which needs its base model to be served."""
    return (model / ADAPTER_CONFIG).is_file() and not (model / "config.json").is_file()


def fingerprint(model: Path) -> str:
    """12 hex digits that tell one model folder from another.

    SHA-256 over config.json, generation_config.json, the chat template and, of each weights
    file, its name, size, first and last MiB: reading all of 100 GB would take minutes.
    An adapter's has its configuration and weights, and the identity of its base model.
    Raises ResultError when the folder has no config.json or no weights, or the base is gone.
    """
    if is_adapter(model):
        configs, weights = (ADAPTER_CONFIG, *_CONFIGS[1:]), [model / ADAPTER_WEIGHTS]
    else:
        configs, weights = _CONFIGS, sorted([*model.glob("*.safetensors"), *model.glob("*.bin")])
        weights = [w for w in weights if not w.name.startswith(_NO_WEIGHTS)]
    if not (model / configs[0]).is_file() or not weights or not weights[0].is_file():
        raise ResultError(f"{model}: not a model folder (config.json and weights are expected)")
    digest = hashlib.sha256()
    for name in configs:
        file = model / name
        digest.update(name.encode() + (file.read_bytes() if file.is_file() else b"-"))
    for file in weights:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_FINGERPRINT_BYTES))
            if size > _FINGERPRINT_BYTES:
                stream.seek(max(size - _FINGERPRINT_BYTES, _FINGERPRINT_BYTES))
                digest.update(stream.read())
    if is_adapter(model):
        digest.update(_base_identity(model).encode())
    return digest.hexdigest()[:12]


def _base_identity(adapter: Path) -> str:
    """The base model's own fingerprint; for a model of the Hub its id and revision."""
    config = read_json(adapter / ADAPTER_CONFIG)
    base = str(config.get("base_model_name_or_path"))
    if Path(base).is_dir():
        return fingerprint(Path(base))
    if Path(base).is_absolute():
        raise ResultError(f"{adapter}: its base model is gone: {base}")
    return f"{base}@{config.get('revision')}"


def mark_complete(checkpoint: Path, **facts: Any) -> None:
    """Mark a checkpoint whole. Call it once every rank has written its part."""
    identity = fingerprint(checkpoint)
    share_weights(checkpoint)
    write_json(
        checkpoint / COMPLETE_MARKER,
        {
            "step": checkpoint_step(checkpoint.name),
            "fingerprint": identity,
            "completed": utc_now(),
            **facts,
        },
    )


def share_weights(model: Path) -> None:
    """Let those read the weights who may read the configuration.

    safetensors 0.8 makes its files for their owner alone, whatever the umask, and colleagues could
    neither evaluate nor copy the model.
    """
    config = model / (ADAPTER_CONFIG if is_adapter(model) else "config.json")
    mode = stat.S_IMODE(config.stat().st_mode)
    for weights in model.glob("*.safetensors"):
        if stat.S_IMODE(weights.stat().st_mode) != mode:
            with suppress(PermissionError):  # some network file systems have their own rules
                weights.chmod(mode)


def read_marker(checkpoint: Path) -> dict[str, Any] | None:
    """What the marker says; None when the checkpoint is not marked.

    Raises ResultError when a marker is there but unreadable, or is of another step.
    """
    path = checkpoint / COMPLETE_MARKER
    if not path.is_file():
        return None
    marker = read_json(path)
    if not isinstance(marker, dict) or marker.get("step") != step_of_name(checkpoint.name):
        raise ResultError(f"{path}: is not this checkpoint's marker: {json.dumps(marker)[:200]}")
    return marker


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Marked checkpoints of an output folder by step, in order of steps."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        step = checkpoint_step(path.name)
        if step is not None and read_marker(path) is not None:
            found[step] = path
    return dict(sorted(found.items()))


def is_resumable(checkpoint: Path) -> bool:
    """Whether a marked checkpoint has, and still has, what training goes on from."""
    marker = read_marker(checkpoint) or {}
    return not (marker.get("optimizer_pruned", False) or marker.get(MODEL_ONLY, False))


def is_model_only(checkpoint: Path) -> bool:
    """Whether it was saved without optimizer and schedule (`save_only_model`)."""
    return bool((read_marker(checkpoint) or {}).get(MODEL_ONLY, False))


def prune_optimizer(checkpoint: Path) -> int:
    """Delete what only resuming needs; returns the bytes freed. The model stays as it was.

    The marker says so first: a checkpoint cut off in the middle of this is never resumed from.
    """
    marker = read_marker(checkpoint)
    if marker is None:
        raise ResultError(f"{checkpoint}: not a complete checkpoint: it is not pruned")
    write_json(checkpoint / COMPLETE_MARKER, {**marker, "optimizer_pruned": utc_now()})
    return _delete_resume_files(checkpoint)


def prune_checkpoint(checkpoint: Path) -> int:
    """Delete a whole checkpoint; returns the bytes freed. Half-deleted it has no such name."""
    doomed = checkpoint.with_name(f".pruned-{checkpoint.name}")
    if doomed.exists():
        shutil.rmtree(doomed)
    os.rename(checkpoint, doomed)
    return _delete(doomed)


def finish_pruning(folder: Path) -> None:
    """Delete what an interrupted pruning left."""
    for doomed in folder.glob(".pruned-checkpoint-*"):
        shutil.rmtree(doomed)
    for checkpoint in complete_checkpoints(folder).values():
        if not is_resumable(checkpoint):
            _delete_resume_files(checkpoint)


def _delete_resume_files(checkpoint: Path) -> int:
    return sum(_delete(path) for name in RESUME_FILES for path in checkpoint.glob(name))


def _delete(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        size = path.lstat().st_size
        path.unlink()
        return size
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path)
    return size
