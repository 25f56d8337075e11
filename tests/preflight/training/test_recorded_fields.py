"""Fields that a trainer would refuse, by the record; proved against the trainer in test_try_fields."""

from __future__ import annotations

from typing import Any

import pytest

from harness.config.training.train import TrainSpec
from harness.preflight.training.recorded_fields import (
    ATTENTIONS,
    OPTIMIZER_PACKAGES,
    SCHEDULER_KWARGS,
    refused,
)


def spec(**train: Any) -> TrainSpec:
    return TrainSpec.model_validate({"model_name": "m", "dataset_name": "d", **train})


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("eval_strategy", {"eval_strategy": "steps"}),
    ("eval_strategy", {"sft": {"eval_strategy": "epoch"}}),
    ("eval_on_start", {"eval_on_start": True}),
    ("lr_scheduler_type", {"lr_scheduler_type": "reduce_lr_on_plateau"}),
    ("lr_scheduler_type", {"lr_scheduler_type": "greedy"}),
    ("lr_scheduler_type", {"lr_scheduler_type": "cosine_with_min_lr"}),
    ("lr_scheduler_type", {"lr_scheduler_type": "warmup_stable_decay"}),
    ("lr_scheduler_kwargs", {"lr_scheduler_kwargs": {"num_cycle": 2}}),
    ("fp16", {"fp16": True}),
    ("fp16", {"fp16": True, "bf16": False, "use_cpu": True}),
    ("fp16", {"fp16": True, "bf16": False, "model_dtype": "float16"}),
    ("tf32", {"tf32": True, "use_cpu": True}),
    ("fp16_full_eval", {"fp16_full_eval": True, "bf16_full_eval": True}),
    ("optim", {"optim": "galore_adamw"}),
    ("dataloader_prefetch_factor", {"dataloader_prefetch_factor": 2}),
    ("dataloader_persistent_workers", {"dataloader_persistent_workers": True}),
    ("dataloader_num_workers", {"dataloader_num_workers": -1}),
    ("torch_empty_cache_steps", {"torch_empty_cache_steps": 0}),
    ("padding_free", {"padding_free": True}),
    ("auto_find_batch_size", {"auto_find_batch_size": True}),
    ("attn_implementation", {"attn_implementation": "flash_atention_2"}),
    ("model_init_kwargs", {"model_init_kwargs": {"attn_implementation": "sdp"}}),
]


@pytest.mark.parametrize(
    ("field", "given"), WRONG, ids=[f"{i}-{f}" for i, (f, _) in enumerate(WRONG)]
)
def test_a_field_that_would_end_training_is_named(field: str, given: dict[str, Any]) -> None:
    assert [r.field for r in refused(spec(**given))] == [field]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"eval_strategy": "no"},
        {"eval_strategy": False},  # YAML's `no`
        {"fp16": True, "bf16": False},
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}},
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 2}},
        {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 2},
        {"padding_free": True, "packing": True},
        {"attn_implementation": "kernels-community/flash-attn2"},
        {"attn_implementation": "flash_attention_4"},
    ],
    ids=str,
)
def test_what_trains_is_not_refused(given: dict[str, Any]) -> None:
    assert list(refused(spec(**given))) == []


def test_a_misspelt_attention_offers_the_nearest() -> None:
    (found,) = refused(spec(attn_implementation="flash_attention2"))
    assert "did you mean 'flash_attention_2'" in found.what


def test_the_record_is_that_of_the_installed_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `train`")
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

    if not transformers.__version__.startswith("5.23"):
        pytest.skip(f"the record is of transformers 5.23, installed is {transformers.__version__}")
    assert {*ALL_ATTENTION_FUNCTIONS.valid_keys(), "eager"} == set(ATTENTIONS)
    own = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    for kind, function in TYPE_TO_SCHEDULER_FUNCTION.items():
        if kind.value in SCHEDULER_KWARGS:
            takes = set(function.__code__.co_varnames[: function.__code__.co_argcount]) - own
            assert takes == SCHEDULER_KWARGS[kind.value], kind
    known = {o.value for o in transformers.training_args.OptimizerNames}
    assert {name for names in OPTIMIZER_PACKAGES.values() for name in names.split()} <= known
