"""The estimate packs as TRL packs."""

from __future__ import annotations

import random

import pytest

from harness.preflight.training.packing import best_fit_decreasing, estimate


def lengths(count: int, seed: int = 0) -> list[int]:
    """Log-normal, as chats are: mean about 650 tokens."""
    source = random.Random(seed)
    return [int(source.lognormvariate(6.0, 1.0)) + 1 for _ in range(count)]


@pytest.mark.parametrize("split", [False, True], ids=["bfd", "bfd_split"])
@pytest.mark.parametrize("capacity", [64, 500, 4096])
def test_best_fit_is_trls_own(capacity: int, split: bool) -> None:
    trl = pytest.importorskip("trl.data_utils", reason="needs the extra `train`")
    datasets = pytest.importorskip("datasets", reason="needs the extra `train`")
    rows = lengths(700)
    data = datasets.Dataset.from_dict({"input_ids": [[1] * n for n in rows]})
    packed = trl.pack_dataset(data, capacity, "bfd_split" if split else "bfd")
    assert best_fit_decreasing(rows, capacity, split) == len(packed)


def test_the_interval_holds_the_truth() -> None:
    everything = lengths(60_000, seed=1)
    truth = sum(best_fit_decreasing(everything[i : i + 1000], 4096) for i in range(0, 60_000, 1000))
    held = 0
    for seed in range(20):
        sample = random.Random(seed).sample(everything, 2000)
        guess = estimate(sample, 60_000, 4096)
        held += abs(guess.sequences - truth) <= guess.share * guess.sequences
        assert guess.share < 0.08
    assert held >= 17


def test_a_sample_of_all_rows_is_exact() -> None:
    rows = lengths(900)
    guess = estimate(rows, 900, 4096)
    assert (guess.sequences, guess.share) == (best_fit_decreasing(rows, 4096), 0.0)


def test_rows_longer_than_a_sequence_fill_one_each() -> None:
    guess = estimate([100] * 10, 10, 50)
    assert (guess.sequences, guess.fill, guess.rows_per_sequence) == (10, 1.0, 1.0)
