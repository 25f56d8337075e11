"""How many steps a training run has, and at which a checkpoint is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.training.train import TrainSpec
from harness.errors import UserError
from harness.plan.steps import planned_steps, process_batches, total_steps
from tests.plan.test_plan import make_spec


def test_checkpoints_are_every_multiple_and_the_last() -> None:
    train = make_spec().train
    assert planned_steps(train, 10) == [4, 8, 10]
    assert planned_steps(train, 8) == [4, 8]
    assert planned_steps(train, 3) == [3]


@pytest.mark.parametrize(
    ("rows", "epochs", "expected"),
    [(100, 1, 4), (100, 2.5, 10), (1, 1, 1), (129, 1, 5)],
)
def test_steps_of_epochs_follow_the_trainer(rows: int, epochs: float, expected: int) -> None:
    # 2 x 2 x 8 = 32 rows a step
    train = TrainSpec(
        model_name="m", dataset_name="d", num_train_epochs=epochs, gpus_per_node=8,
        per_device_train_batch_size=2, gradient_accumulation_steps=2,
    )  # fmt: skip
    assert total_steps(train, rows) == expected


def test_unknown_steps_are_an_error_and_not_a_guess() -> None:
    with pytest.raises(UserError, match="max_steps"):
        total_steps(make_spec({"max_steps": None}).train, None)
    with pytest.raises(UserError, match="packing"):
        total_steps(make_spec({"max_steps": None, "packing": True}).train, 100)


def of(**fields: Any) -> TrainSpec:
    return TrainSpec.model_validate({"model_name": "m", "dataset_name": "d", **fields})


def test_steps_that_are_set_win_over_everything_that_is_known() -> None:
    assert total_steps(of(max_steps=7, num_train_epochs=3, packing=True), None) == 7
    assert total_steps(of(max_steps=7), 1_000_000) == 7


def test_only_the_rows_that_are_used_count() -> None:
    one = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "gpus_per_node": 1}
    assert total_steps(of(**one, max_samples=10), 1000) == 10
    assert total_steps(of(**one, max_samples=1000), 10) == 10
    assert total_steps(of(**one), 0) == 1


@pytest.mark.parametrize(
    ("rows", "batch", "world", "accumulation", "steps"),
    [(17, 8, 2, 1, 2), (16, 8, 2, 1, 1), (100, 3, 4, 5, 2), (5, 4, 8, 4, 1), (33, 1, 4, 4, 3)],
)
def test_each_rounding_is_the_trainers(
    rows: int, batch: int, world: int, accumulation: int, steps: int
) -> None:
    train = of(
        per_device_train_batch_size=batch,
        gpus_per_node=world,
        gradient_accumulation_steps=accumulation,
    )
    assert total_steps(train, rows) == steps


def test_all_nodes_share_the_rows() -> None:
    one = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    assert total_steps(of(**one, nodes=2, gpus_per_node=4), 80) == 10
    assert total_steps(of(**one, nodes=2, use_cpu=True, cpu_processes=2), 80) == 20


def test_unknown_steps_say_both_cures() -> None:
    with pytest.raises(UserError) as caught:
        total_steps(of(), None)
    assert str(caught.value) == (
        "train: the number of steps is unknown: set train.max_steps, or make the dataset readable"
    )


def test_one_step_and_one_less_or_more_than_a_multiple() -> None:
    train = of(save_steps=500)
    assert planned_steps(train, 1) == [1]
    assert planned_steps(train, 499) == [499]
    assert planned_steps(train, 500) == [500]
    assert planned_steps(train, 501) == [500, 501]
    assert planned_steps(of(save_steps=1), 3) == [1, 2, 3]


@given(
    rows=st.integers(1, 60), batch=st.integers(1, 9), world=st.integers(1, 4),
    accumulation=st.integers(1, 4), epochs=st.sampled_from([0.3, 1.0, 2.5]), drop=st.booleans(),
)  # fmt: skip
def test_steps_of_any_sizes_are_those_of_the_trainer(
    rows: int, batch: int, world: int, accumulation: int, epochs: float, drop: bool
) -> None:
    """By torch's, accelerate's and transformers' own code, without a model."""
    data = pytest.importorskip("torch.utils.data", reason="needs the extra `train`")
    loaders = pytest.importorskip("accelerate.data_loader", reason="needs the extra `train`")
    trainer = pytest.importorskip("transformers", reason="needs the extra `train`").Trainer
    sampler = data.BatchSampler(data.SequentialSampler(range(rows)), batch, drop)
    shard = loaders.BatchSamplerShard(sampler, world, 0, even_batches=True)
    given_args = SimpleNamespace(
        max_steps=-1, gradient_accumulation_steps=accumulation, num_train_epochs=epochs
    )
    itself = SimpleNamespace(
        get_total_train_batch_size=lambda _: 1, get_sp_size=lambda: 1, num_examples=len
    )
    loader = data.DataLoader(range(rows), batch_sampler=shard)
    train = of(
        per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        use_cpu=True, cpu_processes=world, num_train_epochs=epochs, dataloader_drop_last=drop,
        max_steps=-1,
    )  # fmt: skip
    assert train.max_steps is None
    assert process_batches(train, rows) == len(loader)
    if len(loader) == 0:  # which the trainer refuses, as check does
        with pytest.raises(ValueError, match="max_steps"):
            trainer.set_initial_training_values(itself, given_args, loader)
        return
    expected = trainer.set_initial_training_values(itself, given_args, loader)[-1]
    assert total_steps(train, rows) == expected
