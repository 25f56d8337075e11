"""The real SFTConfig and LoraConfig, in a process of their own: what they refuse is told by field."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from harness.preflight.training import try_fields

pytest.importorskip("trl", reason="needs the extra `train`")
pytestmark = pytest.mark.long


def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **question: Any
) -> Any:
    asked = {"sft": {}, "lora": None, "modules": {}, **question}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    try_fields.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("sft", "field", "why"),
    [
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "lr_scheduler_type", "eval strategy"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type", "min_lr"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_type", "num_decay_steps"),
        ({"lr_scheduler_kwargs": {"power": 2}, "lr_scheduler_type": "linear"},
         "lr_scheduler_kwargs", "power"),
        ({"dataloader_prefetch_factor": 2}, "dataloader_prefetch_factor", "num_workers"),
        ({"torch_empty_cache_steps": 0}, "torch_empty_cache_steps", "bigger than 0"),
        ({"optim_args": "x", "weight_decay": 0.1}, "optim_args", ""),
        ({"accelerator_config": {"no_such": 1}}, "accelerator_config", "no_such"),
        ({"optim": "galore_adamw", "weight_decay": 0.1}, "optim", "galore"),
    ],
)  # fmt: skip
def test_the_field_that_is_refused_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sft: dict[str, Any],
    field: str,
    why: str,
) -> None:
    found = answer(monkeypatch, capsys, sft=sft)["refused"]
    assert [name for name, _ in found] == [field]
    assert why in found[0][1]


def test_what_is_right_is_taken_and_absent_modules_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sft = {"optim": "adafactor", "weight_decay": 0.1, "lr_scheduler_type": "polynomial"}
    lora = {"r": 8, "target_modules": ["q_proj"], "use_dora": True}
    found = answer(
        monkeypatch, capsys, sft=sft, lora=lora, modules={"no_such_module": "optim", "json": "x"}
    )
    assert found == {"refused": [], "absent": ["no_such_module"]}
    two = {"torch_empty_cache_steps": 0, "optim_args": "x", "weight_decay": 0.1}
    found = answer(monkeypatch, capsys, sft=two)["refused"]
    assert {name for name, _ in found} == {"torch_empty_cache_steps", "optim_args"}
    found = answer(monkeypatch, capsys, lora={"target_parameters": "w"})
    assert found["refused"][0][0] == "target_parameters"
