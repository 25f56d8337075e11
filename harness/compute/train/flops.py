"""Model FLOPs utilisation (MFU): what training computes, against what the GPUs could.

    MFU = tokens/s x FLOPs per token / (GPUs x peak FLOP/s of one)

after PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B). Recomputed activations are not
counted, as there: gradient checkpointing therefore lowers it. Attention counts in full, without
halving it for the causal mask, and only within documents, also where several are packed. Tokens are those that TRL
counts: prompts included, padding not, of all processes. So padding lowers MFU, as it wastes the GPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PEAK_FLOPS = (
    ("B300", 2250e12),  # NVIDIA HGX platform data sheet, per GPU
    ("GB200", 2500e12),  # NVIDIA GB200 NVL72 data sheet: 360 PFLOP/s sparse, 72 GPUs
    ("B200", 2250e12),  # NVIDIA HGX platform data sheet: 36 PFLOP/s sparse, 8 GPUs
    ("GH200", 989.4e12),  # NVIDIA GH200 data sheet
    ("H200 NVL", 835.5e12),  # NVIDIA H200 data sheet
    ("H200", 989.4e12),  # NVIDIA H200 data sheet, SXM
    ("H100 NVL", 835.5e12),  # NVIDIA H100 data sheet
    ("H100 PCIe", 756.4e12),  # NVIDIA H100 data sheet
    ("H100", 989.4e12),  # NVIDIA H100 data sheet, SXM
    ("H800", 989.4e12),  # as H100 SXM: only its links are slower
    ("H20", 148e12),  # NVIDIA H20 data sheet
    ("A100", 312e12),  # NVIDIA A100 data sheet
    ("A800", 312e12),  # as A100: only its links are slower
    ("A40", 149.7e12),  # NVIDIA A40 data sheet
    ("A30", 165e12),  # NVIDIA A30 data sheet
    ("L40S", 362.05e12),  # NVIDIA L40S data sheet
    ("L40", 181.05e12),  # NVIDIA L40 data sheet
    ("L4", 121e12),  # NVIDIA L4 data sheet: 242 sparse
    ("MI355X", 2516.6e12),  # AMD Instinct MI355X data sheet
    ("MI350X", 2306.9e12),  # AMD Instinct MI350X data sheet
    ("MI325X", 1307.4e12),  # AMD Instinct MI325X data sheet
    ("MI300X", 1307.4e12),  # AMD Instinct MI300X data sheet
    ("MI250X", 191.5e12),  # AMD Instinct MI250X data sheet: 383 for two dies; each is a device
)
"""Dense bfloat16 FLOP/s of one GPU by what its name contains; the first match counts."""

_ROWS_MEASURED = 10_000


@dataclass(frozen=True)
class Compute:
    """What a step costs, and what the hardware can do. None: not known, never guessed."""

    flops_per_token: float | None = None
    peak_flops: float | None = None
    """Of all processes' devices together, FLOP/s."""

    def mfu(self, tokens_per_second: float | None) -> float | None:
        """Model FLOPs utilisation, a share between 0 and 1."""
        if tokens_per_second is None or not self.flops_per_token or not self.peak_flops:
            return None
        return tokens_per_second * self.flops_per_token / self.peak_flops


def compute_of(args: Any, model: Any, dataloader: Any) -> Compute:
    """What a token costs and what all devices can do, as far as both are known."""
    peak = None
    if args.device.type == "cuda":
        import torch

        peak = peak_flops(torch.cuda.get_device_name(args.device))
    context = mean_context(getattr(dataloader, "dataset", None), getattr(args, "max_length", None))
    return Compute(
        flops_per_token=flops_per_token(model, context) if model is not None else None,
        peak_flops=None if peak is None else peak * args.world_size,
    )


def peak_flops(device_name: str) -> float | None:
    """Dense bfloat16 FLOP/s of a GPU by `torch.cuda.get_device_name`; None when it is not known."""
    words = re.sub(r"[^a-z0-9]+", " ", device_name.lower())
    if " mig " in f" {words} ":  # a slice of a GPU, of which the name does not say how large
        return None
    for name, flops in PEAK_FLOPS:
        if re.search(rf"\b{re.escape(name.lower())}\b", words):
            return flops
    return None


def flops_per_token(model: Any, context: float | None) -> float | None:
    """FLOPs of forward and backward pass for one token, after PaLM's appendix B.

    6 x trained parameters + 4 x frozen ones (LoRA: they get no gradient of their own)
    + 12 x heads x head size x `context`, for each layer with attention.

    Parameters are those that a token multiplies: an embedding table only where it is also the
    output head, of a mixture of experts those that a token is sent to. `context` is the length
    of the document around a token, see `mean_context`. None where something is not known.
    """
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else None
    heads = getattr(config, "num_attention_heads", None)
    if config is None or context is None or not heads or _is_quantised(model):
        return None
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    layers = _attended(config, context)
    tied, routed = getattr(config, "tie_word_embeddings", False), _routed_share(config)
    products = _multiplied(model, tied, routed)
    matrices = sum((6 if trained else 4) * count for count, trained in products)
    return matrices + 12.0 * int(heads) * int(head_size) * sum(layers)


def mean_context(rows: Any, max_length: int | None) -> float | None:
    """Length of the document around an average token: sum(length^2) / sum(length).

    `rows` is a dataset as TRL has tokenised it; of the first 10,000 rows. Where rows are packed,
    documents are what `seq_lengths` says. None for anything else.
    """
    columns = getattr(rows, "column_names", None) or []
    if not {"seq_lengths", "input_ids"} & set(columns):
        return None
    total = squares = 0
    head = rows.select(range(min(len(rows), _ROWS_MEASURED)))
    for length in _lengths(head, "seq_lengths" in columns):
        length = min(length, max_length or length)
        total, squares = total + length, squares + length * length
    return squares / total if total else None


def _lengths(rows: Any, packed: bool) -> Iterable[int]:
    import pyarrow.compute as pc

    column = "seq_lengths" if packed else "input_ids"
    for batch in rows.select_columns([column]).with_format("arrow").iter(1000):
        values = batch[column]
        lengths = pc.list_flatten(values) if packed else pc.list_value_length(values)
        yield from lengths.to_pylist()


def _attended(config: Any, context: float) -> list[float]:
    """Tokens that each layer attends to: all, those of a window, or none (linear attention)."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    window = getattr(config, "sliding_window", None) or context
    reach = {"full_attention": context, "sliding_attention": min(context, window)}
    return [reach.get(kind, 0.0) for kind in kinds]


def _routed_share(config: Any) -> float:
    """Which share of a mixture's routed experts a token is sent to; 1 without a mixture."""
    experts = next(
        (n for name in ("num_experts", "num_local_experts", "n_routed_experts")
         if (n := getattr(config, name, None))), None
    )  # fmt: skip
    chosen = getattr(config, "num_experts_per_tok", None)
    return chosen / experts if experts and chosen else 1.0


def _multiplied(model: Any, tied: bool, routed: float) -> Iterable[tuple[float, bool]]:
    """(parameters, whether they are trained), for each tensor that a token multiplies."""
    table = model.get_input_embeddings()
    looked_up = {id(p) for p in table.parameters()} if table is not None and not tied else set()
    for name, parameter in model.named_parameters():
        if id(parameter) in looked_up:
            continue
        count = getattr(parameter, "ds_numel", None) or parameter.numel()  # ZeRO-3 keeps a part
        share = routed if ".experts." in name else 1.0
        yield count * share, bool(parameter.requires_grad)


def _is_quantised(model: Any) -> bool:
    """Packed 4-bit tensors hide how many weights there are."""
    return getattr(model, "quantization_method", None) is not None
