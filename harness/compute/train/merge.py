"""Merge a LoRA checkpoint into its base model, once, for servers that want one whole model.

    python -m harness.compute.train.merge CHECKPOINT

prints the merged folder, `CHECKPOINT/merged-<fingerprint>`. Evaluation tasks of a checkpoint start
together on different nodes: the first merges, the others wait and take the same folder. The lease
only saves work. What makes the folder whole is that it is filled under another name and then
renamed, so two that merge at once, after a holder was taken for dead, do no harm.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from filelock import SoftFileLease

from harness.chats.tokenizer import TokenizerSource, keep_own_files, load_tokenizer
from harness.errors import HarnessError, ResultError, UserError
from harness.package import needs
from harness.runs.checkpoints import (
    ADAPTER_CONFIG,
    fingerprint,
    is_adapter,
    read_marker,
    share_weights,
)
from harness.runs.configuration import CONFIG
from harness.runs.files import read_json, utc_now, write_json
from harness.runs.paths import MERGED_MARKER, merged_name

LEASE_S = 180.0
"""A holder that showed no sign of life for so many seconds was killed, and another one merges."""
_BESIDE = ("generation_config.json", "chat_template.jinja")


def merged_model(checkpoint: Path) -> Path:
    """The folder to serve: the checkpoint itself, or its adapter merged into the base model.

    Waits while another process merges. Raises UserError without PEFT, ResultError for a
    checkpoint that is not marked or whose base model is gone.
    """
    if not is_adapter(checkpoint):
        return checkpoint
    marker = read_marker(checkpoint)
    if marker is None:
        raise ResultError(f"{checkpoint}: is not complete")
    identity = fingerprint(checkpoint)
    if identity != marker["fingerprint"]:
        raise ResultError(
            f"{checkpoint}: adapter or base model is not what was trained: {identity}, the marker "
            f"says {marker['fingerprint']}"
        )
    target = checkpoint / merged_name(identity)
    if is_merged(target):
        return target
    # A file made by O_EXCL and touched by its holder: it works between nodes, without flock, which
    # some shared file systems lack.
    with SoftFileLease(checkpoint / f".{target.name}.lock", lease_duration=LEASE_S):
        if not is_merged(target):
            _merge(checkpoint, target, str(marker.get("dtype", "auto")))
    return target


def is_merged(target: Path) -> bool:
    """Whether a merged folder is there, whole."""
    return (target / MERGED_MARKER).is_file()


def _merge(checkpoint: Path, target: Path, dtype: str) -> None:
    began = time.monotonic()
    for left in checkpoint.glob(f".{target.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)  # of a merge that was killed
    temporary = checkpoint / f".{target.name}.{os.uname().nodename}-{os.getpid()}.tmp"
    try:
        save_merged(checkpoint, temporary, dtype)
        marker = {
            "adapter": target.name.rpartition("-")[2],
            "fingerprint": fingerprint(temporary),
            "dtype": dtype,
            "merged": utc_now(),
            "seconds": round(time.monotonic() - began, 1),
        }
        _to_disk(temporary)
        write_json(temporary / MERGED_MARKER, marker)
        _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_merged(checkpoint: Path, folder: Path, dtype: str) -> None:
    """Write the merged model with tokenizer, template and generation config.

    In the precision that was trained in, on CPU: one task of many does it, before its server
    takes the GPU. Raises UserError without PEFT, ResultError for weights that are not finite.
    """
    try:
        from peft import PeftModel
    except ImportError:
        raise UserError(f"LoRA checkpoints are merged by PEFT: {needs('train')}") from None
    from transformers import AutoModelForCausalLM

    config = read_json(checkpoint / ADAPTER_CONFIG)
    trusted = _trusts_code(checkpoint)
    base = AutoModelForCausalLM.from_pretrained(
        config["base_model_name_or_path"], revision=config.get("revision") or "main", dtype=dtype,
        trust_remote_code=trusted,
    )  # fmt: skip
    model = PeftModel.from_pretrained(base, str(checkpoint))
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ResultError(f"{checkpoint}: cannot be merged: {error}") from None
    merged.save_pretrained(folder)
    source = TokenizerSource(model=str(checkpoint), trust_remote_code=trusted)
    tokenizer = load_tokenizer(source)
    tokenizer.save_pretrained(folder)
    keep_own_files(tokenizer, folder)
    for name in _BESIDE:  # as they were trained, not as they are saved again
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    share_weights(folder)


def _trusts_code(checkpoint: Path) -> bool:
    """Whether classes of the model's own folder were trained with."""
    config = (read_marker(checkpoint) or {}).get(CONFIG)
    return isinstance(config, dict) and config.get("trust_remote_code") is True


def _to_disk(folder: Path) -> None:
    """Else a crash of the machine could leave the new name before the new contents."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _publish(temporary: Path, target: Path) -> None:
    try:
        os.rename(temporary, target)  # a folder replaces no folder: the first one wins
    except OSError:
        if not is_merged(target):
            raise


if __name__ == "__main__":
    try:
        print(merged_model(Path(sys.argv[1])))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
