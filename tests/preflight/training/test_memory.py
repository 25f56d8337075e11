"""Memory estimates, against published and measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.training.train import TrainSpec
from harness.preflight.training.memory import Memory, check_memory, estimate, nearest_fit
from harness.runs.models.shape import ModelShape


def train(**fields: Any) -> TrainSpec:
    return TrainSpec(**{"model_name": "m", "dataset_name": "d", **fields})


# Parameters (the models' cards) and shapes (their config.json) of Qwen3.
QWEN3 = {
    "1.7B": ModelShape(1_720_574_976, 2048, 6144, 28, 2048, 1024, 151936, 151936 * 2048, "bfloat16"),
    "4B": ModelShape(4_022_468_096, 2560, 9728, 36, 4096, 1024, 151936, 151936 * 2560, "bfloat16"),
    "8B": ModelShape(8_190_735_360, 4096, 12288, 36, 4096, 1024, 151936, 151936 * 8192, "bfloat16"),
    "14B": ModelShape(14_768_307_200, 5120, 17408, 40, 5120, 1024, 151936, 151936 * 10240, "bfloat16"),
    "32B": ModelShape(32_762_123_264, 5120, 25600, 64, 8192, 1024, 151936, 151936 * 10240, "bfloat16"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("size", "parallelism", "published"),
    [("1.7B", "ddp", 27.5), ("4B", "ddp", 64), ("8B", "fsdp2", 16), ("14B", "fsdp2", 30), ("32B", "fsdp2", 66)],
)  # fmt: skip
def test_states_are_the_published_ones(size: str, parallelism: str, published: float) -> None:
    found = estimate(train(parallelism=parallelism), QWEN3[size])
    assert found.states == pytest.approx(published, rel=0.03)


def test_zero_papers_figures() -> None:
    # Rajbhandari et al. 2020, figure 1: 7.5B parameters on 64 GPUs, mixed precision: 16.6 and 1.9 GB.
    shape = ModelShape(7_500_000_000, 4096, 16384, 48, 4096, 4096, 50257, 0, "float32")
    for kind, published in (("zero2", 16.6), ("zero3", 1.9)):
        spec = train(parallelism=kind, nodes=8)
        assert estimate(spec, shape).states == pytest.approx(published, abs=0.05)


def test_bfloat16_weights_and_lora_take_less() -> None:
    full = estimate(train(), QWEN3["8B"]).states
    assert estimate(train(model_dtype="bfloat16"), QWEN3["8B"]).states == full / 2
    assert estimate(train(model_dtype="auto"), QWEN3["8B"]).states == full / 2
    lora = estimate(train(use_peft=True, model_dtype="bfloat16"), QWEN3["8B"])
    # r 16 on all linear layers of Qwen3-8B: 43.6M parameters.
    assert lora.states == pytest.approx((8.19 * 2) + 0.0436 * 8, abs=0.02)


def test_activations_are_what_a_forward_pass_keeps(tmp_path: Path) -> None:
    """Against the tensors that autograd really saves, of a small Qwen3 under bfloat16 autocast."""
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `train`")
    config = transformers.Qwen3Config(
        vocab_size=64, hidden_size=256, intermediate_size=768, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, tie_word_embeddings=True,
    )  # fmt: skip
    network = transformers.Qwen3Model(config).train()
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        # A saved view is held by its storage; casts of weights are counted apart.
        if tensor.untyped_storage().data_ptr() not in weights and tensor.dim() > 2:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    batch, length = 2, 128
    ids = torch.zeros((batch, length), dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        torch.autocast("cpu", torch.bfloat16),
    ):
        result = network(ids)  # kept alive, so that no storage is used twice
    shape = ModelShape(1, 256, 768, 6, 256, 128, 64, 0, "float32")
    spec = train(gradient_checkpointing=False, max_length=length, per_device_train_batch_size=batch)
    real = sum(saved.values()) / 1e9
    assert result is not None
    print(f"formula / saved by autograd: {estimate(spec, shape).activations / real:.3f}")
    assert estimate(spec, shape).activations == pytest.approx(real, rel=0.25)


def test_checkpointing_and_short_rows_take_less() -> None:
    def activations(longest: int | None = None, **fields: Any) -> float:
        return estimate(train(**fields), QWEN3["1.7B"], longest).activations

    assert activations() < 0.15 * activations(gradient_checkpointing=False)
    assert activations(longest=1024) == pytest.approx(activations() / 4)
    assert activations(longest=1024, packing=True) == activations()
    assert activations(longest=9999) == activations()


def test_what_does_not_fit_comes_with_lines_that_do() -> None:
    spec = train(gradient_checkpointing=False)
    (finding,) = check_memory(spec, QWEN3["1.7B"], 80)
    assert finding.level == "error"
    assert "more than the 80 GB" in finding.message
    assert "per_device_train_batch_size: 2\n    gradient_accumulation_steps: 8" in finding.cure
    single = train(gradient_checkpointing=False, per_device_train_batch_size=1)
    cure = nearest_fit(single, QWEN3["1.7B"], 40)
    assert "    gradient_checkpointing: true" in cure
    assert "accumulation" not in cure
    (finding,) = check_memory(train(), QWEN3["8B"], 80)
    assert "parallelism: fsdp2" in finding.cure
    (finding,) = check_memory(train(gpus_per_node=1), QWEN3["32B"], 80)
    assert "No batch size" in finding.cure


def test_every_suggestion_fits_by_the_same_estimate() -> None:
    for size in ("1.7B", "4B", "8B"):
        for limit in (40.0, 60.0, 72.0):
            cure = nearest_fit(train(gradient_checkpointing=False), QWEN3[size], limit)
            lines = [line for line in cure.splitlines() if line.startswith("    ")]
            changes = yaml.safe_load("\n".join(lines) or "{}")
            if changes:
                fixed = train(**{"gradient_checkpointing": False, **changes})
                assert estimate(fixed, QWEN3[size]).total <= limit


def test_without_the_gpus_memory_there_is_a_number_and_how_to_compare_it() -> None:
    (finding,) = check_memory(train(), QWEN3["1.7B"], None)
    assert finding.level == "note"
    assert "27.5 weights, gradients and AdamW of 1.72B parameters (ddp)" in finding.message
    assert "gpu_memory_gb" in finding.message
    assert check_memory(train(use_cpu=True), QWEN3["1.7B"], 80) == []
    (finding,) = check_memory(train(), None, 80)
    assert "unknown" in finding.message


def test_total_is_the_sum_of_its_parts() -> None:
    assert Memory(1.0, 2.0, 3.0).total == 7.5


def test_lora_that_does_not_fit_is_offered_frozen_weights_in_bfloat16() -> None:
    lora = train(use_peft=True, gpus_per_node=1, per_device_train_batch_size=1)
    whole = estimate(lora, QWEN3["8B"]).total
    half = estimate(lora.model_copy(update={"model_dtype": "bfloat16"}), QWEN3["8B"]).total
    assert "model_dtype: bfloat16" in nearest_fit(lora, QWEN3["8B"], (whole + half) / 2)
    full = train(gpus_per_node=1, per_device_train_batch_size=1)
    assert "model_dtype" not in nearest_fit(full, QWEN3["8B"], whole)
