"""The `train` section: TRL's fields wherever they stand, processes, what contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.config.load import load_spec
from harness.config.training.train import TrainSpec
from tests.config.test_load import GOOD, message, spec_file


def train(**given: Any) -> TrainSpec:
    return TrainSpec.model_validate({"model_name": "m", "dataset_name": "d", **given})


def reason(**given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        train(**given)
    (error,) = caught.value.errors()
    return error["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("given", "kept", "best"),
    [("all", "all", None), (3, 3, None), ("best:1", "best:1", 1), ("best:12", "best:12", 12)],
)
def test_checkpoints_are_kept_all_the_newest_or_the_best(
    given: object, kept: object, best: int | None
) -> None:
    spec = train(keep_checkpoints=given)
    assert (spec.keep_checkpoints, spec.keep_best) == (kept, best)


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "1.5", "none", "best", "'best:'", "'best:0'", "'best:-1'", "'best:2x'", "null"],
)
def test_another_word_shows_what_may_stand_there(tmp_path: Path, value: str) -> None:
    told = message(tmp_path, GOOD, f"train.keep_checkpoints={value}")
    assert told.startswith(f"--set train.keep_checkpoints={value}: train.keep_checkpoints")
    assert "'all'" in told


def test_a_metric_to_rank_by_needs_a_ranking() -> None:
    metric = "gsm8k/pass@1/symbolic_correct"
    told = "best_metric ranks for keep_checkpoints: best:N; set both or neither"
    assert reason(best_metric=metric) == reason(best_metric=metric, keep_checkpoints=2) == told
    assert train(best_metric=metric, keep_checkpoints="best:2").best_metric == metric


@pytest.mark.parametrize(
    ("given", "each", "all_"),
    [
        ({}, 8, 8),
        ({"nodes": 3}, 8, 24),
        ({"gpus_per_node": 1}, 1, 1),
        ({"use_cpu": True}, 2, 2),
        ({"use_cpu": True, "gpus_per_node": 0, "cpu_processes": 4, "nodes": 2}, 4, 8),
    ],
)
def test_processes_are_one_for_each_gpu_and_on_cpu_as_many_as_asked_for(
    given: dict[str, Any], each: int, all_: int
) -> None:
    spec = train(**given)
    assert (spec.processes_per_node, spec.world_size) == (each, all_)


def test_no_gpu_is_never_taken_for_cpu() -> None:
    assert reason(gpus_per_node=0) == "gpus_per_node is 0: ask for GPUs, or set use_cpu: true"


@pytest.mark.parametrize("kind", ["fsdp2", "zero2", "zero3"])
def test_sharing_needs_two_processes_on_whatever_nodes(kind: str) -> None:
    told = reason(parallelism=kind, gpus_per_node=1)
    assert told == f"parallelism: {kind} needs two processes, here is one"
    assert train(parallelism=kind, gpus_per_node=1, nodes=2).world_size == 2


def test_deepspeed_needs_gpus_and_says_what_does_not() -> None:
    for kind in ("zero2", "zero3"):
        told = reason(parallelism=kind, use_cpu=True)
        assert told == (f"parallelism: {kind} (DeepSpeed) needs GPUs; on CPU take ddp or fsdp2")
    assert train(parallelism="fsdp2", use_cpu=True).parallelism == "fsdp2"


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, ()), ("none", ()), ([], ()), ("wandb", ("wandb",)),
     (["wandb", "mlflow"], ("wandb", "mlflow"))],
)  # fmt: skip
def test_one_tracker_is_a_list_and_none_is_nobody(given: object, kept: tuple[str, ...]) -> None:
    assert train(report_to=given).report_to == kept


def test_the_first_unknown_tracker_is_told() -> None:
    assert reason(report_to=["wandb", "tensorbord"]).startswith(
        "'tensorbord' is no tracker; did you mean 'tensorboard'?"
    )


def test_fields_of_trl_may_stand_beside_ours_or_in_their_own_section() -> None:
    spec = train(weight_decay=0.1, sft={"neftune_noise_alpha": 5})
    assert spec.sft == {"weight_decay": 0.1, "neftune_noise_alpha": 5}
    assert train(sft=None, weight_decay=0.1).sft == {"weight_decay": 0.1}
    assert train().sft == {}


def test_a_field_of_ours_does_not_stand_in_their_section() -> None:
    assert reason(sft={"learning_rate": 1}) == "learning_rate stands in `train` itself"


def test_a_section_that_is_no_section_is_refused_and_drops_nothing_silently() -> None:
    assert "valid dictionary" in reason(sft=["weight_decay"], neftune_noise_alpha=5)


def test_what_is_given_is_not_changed() -> None:
    given: dict[str, Any] = {"model_name": "m", "dataset_name": "d", "weight_decay": 0.1,
                             "sft": {"neftune_noise_alpha": 5}}  # fmt: skip
    TrainSpec.model_validate(given)
    assert given["sft"] == {"neftune_noise_alpha": 5}
    assert "weight_decay" in given


@pytest.mark.parametrize(
    ("field", "least", "wrong"),
    [
        ("max_samples", 1, 0), ("max_length", 8, 7), ("learning_rate", 1e-9, 0),
        ("warmup_steps", 0, -1), ("max_steps", 1, 0), ("num_train_epochs", 0.1, 0),
        ("save_steps", 1, 0), ("per_device_train_batch_size", 1, 0), ("seed", 0, -1),
        ("gradient_accumulation_steps", 1, 0), ("logging_steps", 1, 0), ("cpu_processes", 1, 0),
        ("max_restarts", 0, -1), ("nodes", 1, 0), ("model_dtype", "auto", "fp32"),
        ("learning_rate", 1, float("nan")),
    ],
)  # fmt: skip
def test_the_bounds_of_each_size(field: str, least: object, wrong: object) -> None:
    assert getattr(train(**{field: least}), field) == least
    assert reason(**{field: wrong}).startswith("Input should be ")


def test_wrapped_packing_with_assistant_only_loss_is_refused_before_queueing(
    tmp_path: Path,
) -> None:
    text = message(tmp_path, GOOD, "train.packing=true", "train.packing_strategy=wrapped")
    assert "cuts conversations in the middle" in text
    assert "packing_strategy: bfd" in text
    everything = ["train.packing=true", "train.packing_strategy=wrapped",
                  "train.assistant_only_loss=false"]  # fmt: skip
    assert load_spec(spec_file(tmp_path, GOOD), everything).train.packing


def test_a_misspelt_tracker_offers_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'wandb'" in message(tmp_path, GOOD, "train.report_to=[wand]")
    assert load_spec(spec_file(tmp_path, GOOD), ["train.report_to=none"]).train.report_to == ()
