"""Memory and disk estimates, against published and measured figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.config.training.train import TrainSpec
from harness.errors import ResultError
from harness.preflight.training import disk
from harness.preflight.training.disk import check_disk, checkpoint_bytes, kept_checkpoints
from harness.preflight.training.memory import Memory, check_memory, estimate, nearest_fit
from harness.runs.shape import ModelShape, read_shape
from tests.preflight.support import model, write_weights


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
            changes = dict(
                line.strip().split(": ") for line in cure.splitlines() if line.startswith("    ")
            )
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


def test_a_shape_is_read_from_headers(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    shape = read_shape(folder)
    assert shape is not None
    assert (shape.parameters, shape.query_size, shape.key_value_size) == (128_672, 128, 64)
    write_weights(folder / "extra.safetensors", {"lm_head.weight": (448, 64), "b": (5,)})
    assert (read_shape(folder) or shape).parameters == 128_677  # tied: counted once
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    assert (read_shape(folder) or shape).parameters == 128_677 + 448 * 64
    (folder / "extra.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ResultError, match=r"extra\.safetensors"):
        read_shape(folder)
    (folder / "extra.safetensors").unlink()
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    assert read_shape(folder) is None


def test_checkpoints_take_what_was_measured() -> None:
    def size(name: str, **fields: Any) -> int:
        return sum(checkpoint_bytes(train(**fields), QWEN3[name]))

    assert size("1.7B") == pytest.approx(20.6e9, rel=0.01)
    assert size("1.7B", save_only_model=True) == 4 * 1_720_574_976
    assert size("8B", use_peft=True) == pytest.approx(12 * 43.6e6, rel=0.01)
    assert kept_checkpoints(train(), 30) == 30
    assert kept_checkpoints(train(keep_checkpoints=2), 30) == 3
    assert kept_checkpoints(train(keep_checkpoints="best:3"), 30) == 5
    assert kept_checkpoints(train(keep_checkpoints=9), 4) == 4


def test_checkpoints_are_held_against_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    asked = []

    def free(path: Path) -> Any:
        asked.append(path)
        return usage._replace(free=300_000_000_000)

    monkeypatch.setattr(disk.shutil, "disk_usage", free)
    steps = list(range(500, 15_001, 500))
    output = tmp_path / "absent" / "checkpoints"
    (finding,) = check_disk(train(), QWEN3["1.7B"], steps, output)
    assert finding.level == "error"
    assert "30 checkpoints of 20.6 GB need 619.4 GB; 300.0 GB are free" in finding.message
    assert "keep_checkpoints: 2" in finding.cure
    assert asked == [tmp_path]
    # Pruned ones keep their weights, unless they are deleted whole.
    (finding,) = check_disk(train(keep_checkpoints=2), QWEN3["1.7B"], steps, output)
    assert finding.level == "warning"
    assert "3 checkpoints of 20.6 GB, 27 pruned to 6.9 GB need 247.8 GB" in finding.message
    gone = train(keep_checkpoints=2, prune="checkpoint")
    (finding,) = check_disk(gone, QWEN3["1.7B"], steps, output)
    assert finding.level == "note"
    (finding,) = check_disk(train(), QWEN3["1.7B"], steps[:13], output)
    assert finding.level == "warning"
