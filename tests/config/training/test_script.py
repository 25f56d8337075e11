"""What the training script is told: everything of the spec, and nothing that is unset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.training.lora import LORA_DEFAULTS, LoraFields
from harness.config.training.script import script_arguments
from harness.config.training.sft_fields import SFT_FIELDS
from harness.config.training.train import TrainSpec

RUN = Path("/runs/it's ü/20260131-120000-abcd")
OUT = Path("/out put")
OTHERS = {  # of sft.py itself and of TRL's other configs
    "model_name", "dataset_name", "dataset_split", "max_samples", "model_dtype", "parallelism",
    "attn_implementation", "run_dir", "expected_world_size", "chat_template_path", "use_peft",
    "eval_split", *LORA_DEFAULTS,
}  # fmt: skip
OURS = {  # fields of the spec that the scheduler, the plan or a property takes
    "output_dir", "keep_checkpoints", "prune", "best_metric", "cpu_processes", "max_restarts",
    "nodes", "gpus_per_node", "time_limit", "sft",
}  # fmt: skip


def told(template: Path | None = None, **train: Any) -> dict[str, Any]:
    spec = TrainSpec.model_validate({"model_name": "m", "dataset_name": "d", **train})
    return script_arguments(spec, RUN, OUT, template)


def test_every_field_of_the_spec_reaches_the_script_by_its_own_name() -> None:
    everything = {"use_peft": True, "attn_implementation": "sdpa", "eos_token": "<|end|>",
                  "eval_split": "test"}  # fmt: skip
    arguments = told(template=Path("/t"), **everything)
    unset = {name for name, value in LORA_DEFAULTS.items() if value is None}
    assert TrainSpec.model_fields.keys() - OURS - unset <= arguments.keys()
    assert arguments.keys() <= SFT_FIELDS | OTHERS


def test_what_is_unset_is_left_to_the_model_and_the_library() -> None:
    arguments = told()
    for name in ("attn_implementation", "chat_template_path", "eos_token", "run_name"):
        assert name not in arguments
    assert not arguments.keys() & LoraFields.model_fields.keys()
    assert None not in arguments.values()


def test_steps_that_are_unset_are_minus_one_so_that_epochs_count() -> None:
    assert (told()["max_steps"], told()["num_train_epochs"]) == (-1, 1.0)
    assert told(max_steps=7)["max_steps"] == 7


def test_no_tracker_is_said_in_so_many_words() -> None:
    # Left out, transformers would report to every tracker that is installed.
    assert told()["report_to"] == "none"
    assert told(report_to=["wandb", "mlflow"])["report_to"] == ["wandb", "mlflow"]


def test_a_tracked_run_is_named_after_its_folder_unless_it_has_a_name() -> None:
    assert told(report_to="wandb")["run_name"] == "it's ü-20260131-120000-abcd"
    assert told(report_to="wandb", run_name="mine")["run_name"] == "mine"
    assert told(run_name="mine")["run_name"] == "mine"


def test_lora_is_told_only_with_what_is_set() -> None:
    arguments = told(use_peft=True, lora_r=8, lora_target_modules=["q_proj"])
    assert arguments["use_peft"] is True
    assert arguments["lora_r"] == 8
    assert arguments["lora_target_modules"] == ("q_proj",)
    assert arguments["use_dora"] is False  # false is said, too
    assert "lora_modules_to_save" not in arguments


def test_a_further_field_is_told_even_when_it_is_false_or_null() -> None:
    arguments = told(weight_decay=0.0, eval_strategy="no", sft={"dataloader_drop_last": False})
    assert (arguments["weight_decay"], arguments["dataloader_drop_last"]) == (0.0, False)


@pytest.mark.parametrize(
    ("train", "processes"),
    [({}, 8), ({"nodes": 4, "gpus_per_node": 2}, 8), ({"use_cpu": True, "cpu_processes": 3}, 3)],
)
def test_the_script_knows_how_many_it_must_be(train: dict[str, Any], processes: int) -> None:
    assert told(**train)["expected_world_size"] == processes


def test_places_are_told_as_they_are_and_all_of_it_is_json() -> None:
    arguments = told(template=Path("/t/a b.jinja"), model_name='m "x"\n🙂')
    assert arguments["output_dir"] == "/out put"
    assert arguments["run_dir"] == str(RUN)
    assert arguments["chat_template_path"] == "/t/a b.jinja"
    assert json.loads(json.dumps(arguments))["model_name"] == 'm "x"\n🙂'


def test_the_loss_of_a_split_is_measured_at_every_save_unless_asked_otherwise() -> None:
    names = ("eval_split", "eval_strategy", "eval_steps", "per_device_eval_batch_size")
    asked = told(eval_split="test", save_steps=70, per_device_train_batch_size=3)
    assert [asked[name] for name in names] == ["test", "steps", 70, 3]
    other = told(eval_split="test", eval_steps=20, per_device_eval_batch_size=1)
    assert [other[name] for name in names[1:]] == ["steps", 20, 1]
    assert told(eval_split="test", eval_strategy="epoch")["eval_strategy"] == "epoch"
    assert not set(names) & told().keys()
