"""What trainers refuse of SFTConfig's fields, recorded of TRL 1.16 and transformers 5.23. Pure.

Sources: transformers' TrainingArguments.__post_init__, Trainer.__init__, optimization.py and
trainer_optimizer.py; TRL's SFTTrainer.__init__; torch's DataLoader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.config.training.train import TrainSpec
from harness.errors import nearest, quoted

_NO_SET = (
    "there is no evaluation set",
    "Leave it out: every checkpoint is evaluated in a job of its own",
)
OPTIMIZER_PACKAGES = {
    "bitsandbytes": ("adamw_bnb_8bit adamw_8bit ademamix ademamix_8bit lion_8bit lion_32bit "
                     "paged_adamw_32bit paged_adamw_8bit paged_ademamix_32bit paged_ademamix_8bit "
                     "paged_lion_32bit paged_lion_8bit rmsprop_bnb rmsprop_bnb_8bit rmsprop_bnb_32bit"),
    "galore_torch": ("galore_adamw galore_adamw_8bit galore_adafactor galore_adamw_layerwise "
                     "galore_adamw_8bit_layerwise galore_adafactor_layerwise"),
    "apollo_torch": "apollo_adamw apollo_adamw_layerwise",
    "lomo_optim": "lomo adalomo",
    "grokadamw": "grokadamw",
    "torchao": "adamw_torch_4bit adamw_torch_8bit",
    "schedulefree": "schedule_free_radam schedule_free_adamw schedule_free_sgd",
    "optimi": "stable_adamw",
    "torchdistx": "adamw_anyprecision",
    "torch_xla": "adamw_torch_xla",
    "torch_npu": "adamw_torch_npu_fused",
}  # fmt: skip
"""Module that must be installed -> values of `optim` that need it."""
INSTALL = {
    "galore_torch": "galore-torch", "apollo_torch": "apollo-torch", "lomo_optim": "lomo-optim",
    "optimi": "torch-optimi",
}  # fmt: skip
"""Module -> its distribution, where that has another name."""
ATTENTIONS = (
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4",
    "flex_attention", "paged|eager",
)  # fmt: skip
"""transformers' own names; an id on the Hub (`org/kernel`) is a kernel."""
_KERNEL = re.compile(r"[^/:]+/[^/:]+(@[^/:]+)?(:[^/:]+)?")
_LOW_RANK = ("galore_", "apollo_")
_CYCLES = {"num_cycles"}
SCHEDULER_KWARGS: dict[str, set[str]] = {
    "linear": set(),
    "cosine": _CYCLES,
    "cosine_with_restarts": _CYCLES,
    "polynomial": {"lr_end", "power"},
    "inverse_sqrt": {"timescale"},
    "cosine_with_min_lr": {"min_lr", "min_lr_rate", *_CYCLES},
    "cosine_warmup_with_min_lr": {"min_lr", "min_lr_rate", "warmup_lr_rate", *_CYCLES},
    "warmup_stable_decay": {
        "num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", *_CYCLES
    },
}  # fmt: skip
"""What `lr_scheduler_kwargs` may hold; a scheduler that is not named here takes none, or any."""
_IGNORE_KWARGS = ("constant", "constant_with_warmup")


class Refused(NamedTuple):
    """A field that would end training."""

    field: str
    what: str
    cure: str = ""


def has_evaluation_set(train: TrainSpec) -> bool:
    """Whether rows are held out, to evaluate during training."""
    return getattr(train, "eval_split", None) is not None


def refused(train: TrainSpec) -> Iterator[Refused]:
    """What a trainer of the recorded versions would refuse of these fields."""
    yield from _evaluation(train)
    yield from _precision(train)
    yield from _schedule(train)
    yield from _optimizer(train)
    yield from _loading(train)
    yield from _trainer(train)
    yield from _attention(train)


def _evaluation(train: TrainSpec) -> Iterator[Refused]:
    if has_evaluation_set(train):
        return
    sft = train.sft
    if sft.get("eval_strategy") not in (None, "no"):
        yield Refused("eval_strategy", *_NO_SET)
    if sft.get("eval_on_start"):
        yield Refused("eval_on_start", *_NO_SET)
    if train.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
        text = f"{train.lr_scheduler_type} goes by an evaluation loss, and {_NO_SET[0]}"
        yield Refused("lr_scheduler_type", text, "Take another one, e.g. cosine")


def _precision(train: TrainSpec) -> Iterator[Refused]:
    sft = train.sft
    if sft.get("fp16"):
        if train.bf16:
            text = "both fp16 and bf16 (which is on unless set) are asked for; one may be"
            yield Refused("fp16", text, "Set bf16: false, or leave fp16 out")
        if train.use_cpu:
            yield Refused("fp16", "float16 mixed precision needs a GPU", "Leave it out")
        if train.model_dtype == "float16":
            text = "gradients of float16 weights cannot be unscaled"
            yield Refused("fp16", text, "Set model_dtype: float32 beside fp16: true")
    if sft.get("fp16_full_eval") and sft.get("bf16_full_eval"):
        yield Refused("fp16_full_eval", "both fp16_full_eval and bf16_full_eval are asked for")
    if sft.get("tf32") and train.use_cpu:
        yield Refused("tf32", "needs a GPU, and use_cpu is set", "Leave it out")


def _schedule(train: TrainSpec) -> Iterator[Refused]:
    name, given = train.lr_scheduler_type, train.sft.get("lr_scheduler_kwargs")
    kwargs: dict[str, Any] = given if isinstance(given, dict) else {}
    known = SCHEDULER_KWARGS.get(name)
    if known is not None:
        for key in kwargs:
            if key not in known:
                takes = ", ".join(sorted(known)) or "none"
                text = f"{name} takes no {quoted(str(key))!r}{nearest(str(key), known)}"
                yield Refused("lr_scheduler_kwargs", text, f"It takes: {takes}")
    least = [key for key in ("min_lr", "min_lr_rate") if kwargs.get(key) is not None]
    if known is not None and "min_lr" in known and len(least) != 1:
        yield Refused(
            "lr_scheduler_type",
            f"{name} needs one of min_lr and min_lr_rate",
            "Set lr_scheduler_kwargs: {min_lr_rate: 0.1}",
        )
    if name == "warmup_stable_decay" and kwargs.get("num_decay_steps") is None:
        cure = "Set lr_scheduler_kwargs: {num_decay_steps: N}"
        yield Refused("lr_scheduler_type", f"{name} needs num_decay_steps", cure)


def _optimizer(train: TrainSpec) -> Iterator[Refused]:
    name = str(train.sft.get("optim", ""))
    if not name.startswith(_LOW_RANK):
        return
    if not train.sft.get("optim_target_modules"):
        cure = "Set optim_target_modules: all-linear"
        yield Refused("optim", f"{name} needs optim_target_modules", cure)
    if name.endswith("layerwise") and train.gradient_accumulation_steps > 1:
        yield Refused("optim", f"{name} needs gradient_accumulation_steps: 1")
    if name.endswith("layerwise") and train.world_size > 1:
        yield Refused("optim", f"{name} trains with one process only", "Take another optimizer")


def _loading(train: TrainSpec) -> Iterator[Refused]:
    sft, workers = train.sft, train.sft.get("dataloader_num_workers") or 0
    if workers < 0:
        yield Refused("dataloader_num_workers", "a number of at least 0 is expected")
    for field in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
        if sft.get(field) and workers == 0:
            yield Refused(field, "needs dataloader_num_workers of at least 1")
    empty = sft.get("torch_empty_cache_steps")
    if empty is not None and empty < 1:
        yield Refused("torch_empty_cache_steps", "a number of at least 1 is expected")


def _trainer(train: TrainSpec) -> Iterator[Refused]:
    sft = train.sft
    if sft.get("auto_find_batch_size"):
        text = "a batch that is found in the job has other steps and checkpoints than planned"
        cure = "Set per_device_train_batch_size: check says whether it fits"
        yield Refused("auto_find_batch_size", text, cure)
    if sft.get("padding_free") and not train.packing:
        cure = "Set packing: true, or leave padding_free out"
        yield Refused("padding_free", "without packing max_length would not hold", cure)
    selective = (sft.get("gradient_checkpointing_kwargs") or {}).get("selective")
    if selective and not train.gradient_checkpointing:
        yield Refused("gradient_checkpointing_kwargs", "selective needs gradient_checkpointing")
    if (sft.get("liger_kernel_config") or {}).get("fused_linear_cross_entropy"):
        text = "fused_linear_cross_entropy is not supported: TRL has a fused LM head of its own"
        yield Refused("liger_kernel_config", text)


def _attention(train: TrainSpec) -> Iterator[Refused]:
    inner = (train.sft.get("model_init_kwargs") or {}).get("attn_implementation")
    for field, value in (
        ("attn_implementation", train.attn_implementation),
        ("model_init_kwargs", inner),
    ):
        if value is None or value in ATTENTIONS:
            continue
        if not isinstance(value, str) or not _KERNEL.fullmatch(value):
            text = f"{quoted(str(value))!r} is no attention that transformers has"
            text += nearest(str(value), ATTENTIONS)
            yield Refused(field, text, f"known: {', '.join(ATTENTIONS)}, or a kernel's Hub id")


def optimizer_module(name: str) -> str | None:
    """The module that an optimizer needs beyond torch."""
    found = (m for m, names in OPTIMIZER_PACKAGES.items() if name in names.split())
    return next(found, None)
