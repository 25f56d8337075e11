"""FLOPs per token by hand, peaks by real device names, and lengths of documents."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

import torch
from datasets import Dataset
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from harness.compute.train.flops import Compute, flops_per_token, mean_context, peak_flops

SHAPE: dict[str, Any] = {
    "vocab_size": 1000, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip
TABLE = 1000 * 32
ATTENTION = 12 * 4 * 16 * 3  # for each token of context


def qwen(**changes: Any) -> Any:
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE | changes))


@pytest.mark.parametrize("tied", [True, False])
def test_six_flops_a_parameter_and_palms_attention(tied: bool) -> None:
    model = qwen(tie_word_embeddings=tied)
    everything = sum(p.numel() for p in model.parameters())
    multiplied = everything - (0 if tied else TABLE)
    assert flops_per_token(model, 500.0) == 6 * multiplied + ATTENTION * 500


def test_frozen_parameters_cost_four() -> None:
    model = qwen(tie_word_embeddings=True)
    everything = sum(p.numel() for p in model.parameters())
    model.requires_grad_(False)
    trained = model.model.layers[0].self_attn.q_proj.weight
    trained.requires_grad_(True)
    found = flops_per_token(model, 10.0)
    assert found == 4 * everything + 2 * trained.numel() + ATTENTION * 10


def test_of_a_mixture_only_the_experts_asked() -> None:
    config = Qwen3MoeConfig(
        **SHAPE, moe_intermediate_size=8, num_experts=8, num_experts_per_tok=2,
        decoder_sparse_step=1, mlp_only_layers=[], tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3MoeForCausalLM(config)
    routed = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
    assert routed == 3 * 8 * 3 * 32 * 8
    rest = sum(p.numel() for p in model.parameters()) - routed
    assert flops_per_token(model, 0.0) == 6 * (rest + routed / 4)


def test_a_window_caps_what_a_layer_attends_to() -> None:
    model = qwen(
        tie_word_embeddings=True, sliding_window=100, use_sliding_window=True,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
    )  # fmt: skip
    everything = sum(p.numel() for p in model.parameters())
    per_layer = ATTENTION / 3
    assert flops_per_token(model, 500.0) == 6 * everything + per_layer * (500 + 100 + 100)


def test_what_is_not_known_is_none() -> None:
    assert flops_per_token(qwen(), None) is None
    assert flops_per_token(torch.nn.Linear(2, 2), 5.0) is None
    model = qwen()
    model.quantization_method = "bitsandbytes"
    assert flops_per_token(model, 5.0) is None
    assert Compute().mfu(1000.0) is None
    assert Compute(1e9, 1e12).mfu(None) is None
    assert mean_context(None, 4096) is None
    assert mean_context(Dataset.from_dict({"text": ["a"]}), 4096) is None


def test_mfu_of_a_published_figure() -> None:
    """1.7B on an H100 at 40 % is about 38 k tokens/s (the notes), attention left out."""
    assert Compute(6 * 1.72e9, 989.4e12).mfu(38_000) == pytest.approx(0.40, abs=0.005)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756.4e12),
        ("NVIDIA H100 NVL", 835.5e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA GH200 480GB", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362.05e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA GB200", 2500e12),
        ("AMD Instinct MI300X", 1307.4e12),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA A10G", None),
        ("Tesla T4", None),
    ],
)
def test_peaks_by_the_names_that_drivers_give(name: str, expected: float | None) -> None:
    assert peak_flops(name) == expected


def test_the_context_weighs_documents_by_their_tokens() -> None:
    rows = Dataset.from_dict({"input_ids": [[0] * 10, [0] * 30], "labels": [[0], [0]]})
    assert mean_context(rows, None) == (100 + 900) / 40
    assert mean_context(rows, 20) == (100 + 400) / 30
    packed = Dataset.from_dict({"input_ids": [[0] * 40], "seq_lengths": [[10, 30]]})
    assert mean_context(packed, 40) == (100 + 900) / 40
    assert mean_context(SimpleNamespace(column_names=None), 1) is None
