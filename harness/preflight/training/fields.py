"""The trainer's own rules about fields of `train`, before a GPU meets them.

What the recorded versions refuse is known here. Where the environment that trains can be reached
from here, the real SFTConfig and LoraConfig are built there as well, once for a set of fields.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.config.base import Frozen
from harness.config.site import Site
from harness.config.training.train import TrainSpec
from harness.preflight.asking import answer_file, kept_or_asked, said, versions
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.training import try_fields
from harness.preflight.training.recorded_fields import (
    INSTALL,
    optimizer_module,
    refused,
)

ASK_S = 90.0
"""How long the answer may take: ten seconds of imports, on a busy login node a minute."""
_PACKAGES = ("trl", "transformers", "torch", "accelerate", "peft")
_OF_THE_DEVICE = frozenset(
    {"bf16", "fp16", "bf16_full_eval", "fp16_full_eval", "tf32", "use_cpu", "ddp_backend"}
    | {"torch_compile", "torch_compile_backend", "torch_compile_mode"}
)
_BESIDE = ("lr_scheduler_type", "learning_rate")
"""Fields of `train` that SFTConfig judges together with its others."""
_PLAIN_SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")


class Tried(Frozen):
    """What try_fields.py answers."""

    refused: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]


def check_fields(train: TrainSpec, site: Site) -> list[Finding]:
    """Findings about fields that would end training."""
    found = [error(_place(train, r.field), r.what, r.cure) for r in refused(train)]
    if train.sft.get("save_only_model"):
        text = "no planned checkpoint can be resumed from: after a crash the run cannot go on"
        cure = "Leave it out; `prune: optimizer` frees what resuming needs once it is not needed"
        found.append(warning("train.save_only_model", text, cure))
    modules = needed_modules(train)
    if not _worth_asking(train) and not modules:
        return found
    there = versions(site, "train", _PACKAGES)
    tried = try_there(train, site, there, modules) if {"trl", "torch"} <= set(there) else None
    if tried is None:
        return found + [
            note(_place(train, field), f"{module} must be installed where training runs")
            for module, field in modules.items()
        ]
    for module in tried.absent:
        field = modules[module]
        text = f"{_value(train, field)} needs {module}, which is not installed where training runs"
        found.append(
            error(_place(train, field), text, f"pip install {INSTALL.get(module, module)}")
        )
    said_already = {f.place for f in found}
    by = ", ".join(f"{name} {there[name]}" for name in _PACKAGES[:2])
    for field, why in tried.refused:
        if (place := _place(train, field)) not in said_already:
            found.append(error(place, f"refused by {by}: {why}"))
    return found


def needed_modules(train: TrainSpec) -> dict[str, str]:
    """Modules beyond TRL's own that fields need -> the field."""
    needed = {}
    if (module := optimizer_module(str(train.sft.get("optim", "")))) is not None:
        needed[module] = "optim"
    if train.sft.get("use_liger_kernel"):
        needed["liger_kernel"] = "use_liger_kernel"
    return needed


def try_there(
    train: TrainSpec, site: Site, there: dict[str, str], modules: dict[str, str]
) -> Tried | None:
    """What the environment that trains makes of the fields; None where it does not tell."""
    sft = {k: v for k, v in train.sft.items() if k not in _OF_THE_DEVICE}
    sft |= {name: getattr(train, name) for name in _BESIDE}
    question = json.dumps(
        {"sft": sft, "lora": _lora(train), "modules": modules}, sort_keys=True, default=str
    )
    text = json.dumps(there, sort_keys=True) + question + Path(try_fields.__file__).read_text()
    name = hashlib.sha256(text.encode()).hexdigest()[:20]

    def ask() -> str:
        program = Path(try_fields.__file__).read_text(encoding="utf-8")
        answer = said(site, "train", program, [], ASK_S, question)
        return answer[answer.rfind('{"refused"') :]

    return kept_or_asked(answer_file("training_fields", name), ask, Tried.model_validate_json)


def _lora(train: TrainSpec) -> dict[str, Any] | None:
    if not train.use_peft:
        return None
    names = {
        "r": train.lora_r, "lora_alpha": train.lora_alpha, "lora_dropout": train.lora_dropout,
        "target_modules": train.lora_target_modules, "modules_to_save": train.lora_modules_to_save,
        "target_parameters": train.lora_target_parameters, "use_rslora": train.use_rslora,
        "use_dora": train.use_dora,
    }  # fmt: skip
    return {name: value for name, value in names.items() if value is not None}


def _worth_asking(train: TrainSpec) -> bool:
    """Whether there is a field that only the trainer can judge: not in a plain run, which waits for
    nobody's imports."""
    further = [name for name in train.sft if name not in _OF_THE_DEVICE]
    lora = train.lora_target_parameters or train.use_dora
    return bool(further or lora or train.lr_scheduler_type not in _PLAIN_SCHEDULERS)


def _place(train: TrainSpec, field: str) -> str:
    """Where a field stands: its name is TRL's or PEFT's."""
    if field and field not in train.sft and field not in TrainSpec.model_fields:
        field = field if field.startswith(("lora_", "use_")) else f"lora_{field}"
    return f"train.{field}" if field else "train"


def _value(train: TrainSpec, field: str) -> str:
    value = train.sft.get(field)
    return f"{field}: {value}" if isinstance(value, str) else field
