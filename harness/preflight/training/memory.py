"""How much memory of one GPU training takes, and the nearest setting that fits.

Bytes for P parameters on W GPUs, AdamW, in GB of 10^9 bytes:

| parallelism | weights, gradients, optimizer on one GPU |
|---|---|
| ddp   | float32 16 P (4 + 4 + 8), bfloat16 8 P (2 + 2 + 4): torch keeps AdamW's two moments in the weights' type |
| fsdp2 | the same / W, and two unsharded layers |
| zero2 | with bf16 2 P + 14 P / W; else 4 P + 16 P / W |
| zero3 | with bf16 16 P / W; else 20 P / W, and two unsharded layers |

Source: Rajbhandari et al. 2020 (ZeRO), section 3 and figure 1; torch.optim.AdamW. With LoRA only
the adapters have gradients and moments.

Activations are counted for a decoder with gated MLP and grouped queries under sdpa or
FlashAttention, as Korthikanti et al. 2022 count them (section 4.1; without the attention matrix,
which these kernels never store). A token and layer keeps, for hidden size h, queries q,
keys/values k, MLP size m and u bytes of a computed number (2 under bf16):

    two norms (input and result in the residual's type, r bytes)    2 (2 r h)
    inputs of the attention's and the MLP's projections             2 u h
    queries and keys before and after the rotation, values          u (2 q + 3 k)
    the attention's result                                          u q
    gate, up, their activation and product                          4 u m

With gradient checkpointing only each layer's input (r h) is kept, and one layer whole. The
LM head works in tiles (TRL 1.16, kernels/chunked_logprob.py): float32 gradients of its input
(4 h a token) and of its weight (4 h V), no logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error, note, warning
from harness.runs.models.shape import ModelShape

GB = 1e9
FIXED_GB = 1.5
"""CUDA context, kernels, NCCL buffers."""
_TIGHT = 0.9
"""Share of a GPU above which fragmentation may end a run."""
_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Memory:
    """Parts of the estimate for one GPU, in GB of 10^9 bytes."""

    states: float
    """Weights, gradients and the optimizer's moments."""
    working: float
    """Copies of weights: for autocast, or unsharded layers; the LM head's gradient."""
    activations: float

    @property
    def total(self) -> float:
        return self.states + self.working + self.activations + FIXED_GB


def weight_width(train: TrainSpec, shape: ModelShape) -> int:
    """Bytes of a weight that is trained."""
    kind = shape.dtype if train.model_dtype == "auto" else train.model_dtype
    return _WIDTH.get(kind, 4)


def adapter_parameters(train: TrainSpec, shape: ModelShape) -> int:
    """Parameters of LoRA on every linear layer: r (inputs + outputs) for each. 0 without LoRA.

    Fewer target modules have fewer: an upper bound.
    """
    if not train.use_peft:
        return 0
    h, q, k, m = shape.hidden_size, shape.query_size, shape.key_value_size, shape.intermediate_size
    ends = 2 * (h + q) + 2 * (h + k) + 3 * (h + m)
    return (train.lora_r or 0) * ends * shape.num_hidden_layers


def row_tokens(train: TrainSpec, longest: int | None) -> int:
    """Tokens of the longest row in a batch: all rows of a batch are padded to it."""
    known = longest if longest is not None and not train.packing else train.max_length
    return min(known, train.max_length)


def estimate(train: TrainSpec, shape: ModelShape, longest: int | None = None) -> Memory:
    """Memory of one GPU at the worst batch; `longest` is the longest row's tokens, if known."""
    width, adapters = weight_width(train, shape), adapter_parameters(train, shape)
    layer = (shape.parameters - shape.embeddings) / shape.num_hidden_layers
    states, working = _states(train, shape.parameters, adapters, width, layer)
    tokens = train.per_device_train_batch_size * row_tokens(train, longest)
    head = 0 if adapters else 4 * shape.hidden_size * shape.vocab_size
    working += head + 4 * shape.hidden_size * tokens
    activations = tokens * _per_token(train, shape, width)
    return Memory(states / GB, working / GB, activations / GB)


def _states(
    train: TrainSpec, parameters: int, adapters: int, width: int, layer: float
) -> tuple[float, float]:
    """Bytes of states, and of copies of weights."""
    world, kind = train.world_size, train.parallelism
    trained = adapters or parameters
    frozen = (parameters if adapters else 0) * width
    computed = 2 if train.bf16 else width
    if kind == "zero2":
        own = 2 if train.bf16 else 4
        return frozen + trained * (own + (own + 12) / world), 0.0
    if kind == "zero3":
        own = 2 if train.bf16 else 4
        return (frozen + trained * (2 * own + 12)) / world, 2 * layer * own
    whole = frozen + trained * 4 * width
    if kind == "fsdp2":
        return whole / world, 2 * layer * (computed + width)
    # Autocast keeps a copy of each weight that it has cast, until the forward pass ends.
    return whole, (parameters * computed if computed < width else 0.0)


def _per_token(train: TrainSpec, shape: ModelShape, width: int) -> float:
    """Bytes of activations for one token."""
    computed = 2 if train.bf16 else width
    residual = width if train.parallelism in ("ddp", "fsdp2") else computed
    h = shape.hidden_size
    layer = 4 * residual * h + computed * (
        2 * h + 3 * shape.query_size + 3 * shape.key_value_size + 4 * shape.intermediate_size
    )
    if train.gradient_checkpointing:
        return shape.num_hidden_layers * residual * h + layer
    return shape.num_hidden_layers * layer


def check_memory(
    train: TrainSpec,
    shape: ModelShape | None,
    gpu_memory_gb: float | None,
    longest: int | None = None,
) -> list[Finding]:
    """The estimate, against a GPU's memory where the site tells it."""
    place = "train.per_device_train_batch_size"
    if train.use_cpu:
        return []
    if shape is None:
        return [note("train.model_name", "memory per GPU is unknown: no local weights to count")]
    found = estimate(train, shape, longest)
    text = (
        f"about {found.total:.1f} GB a GPU: {found.states:.1f} weights, gradients and AdamW of "
        f"{shape.parameters / 1e9:.2f}B parameters ({train.parallelism}), "
        f"{found.working:.1f} copies and LM head, {found.activations:.1f} activations of "
        f"{train.per_device_train_batch_size} x {row_tokens(train, longest):,} tokens, {FIXED_GB} CUDA"
    )
    if gpu_memory_gb is None:
        return [note(place, f"{text}; set gpu_memory_gb in the site file to have it compared")]
    if found.total <= _TIGHT * gpu_memory_gb:
        return [note(place, f"{text}; of {gpu_memory_gb:g} GB")]
    cure = nearest_fit(train, shape, _TIGHT * gpu_memory_gb, longest)
    if found.total <= gpu_memory_gb:
        return [warning(place, f"{text}: tight in {gpu_memory_gb:g} GB", cure)]
    return [error(place, f"{text}: more than the {gpu_memory_gb:g} GB of a GPU", cure)]


def nearest_fit(
    train: TrainSpec, shape: ModelShape, available_gb: float, longest: int | None = None
) -> str:
    """Lines for the spec that make it fit, the gentlest change first; or that nothing does."""
    for changes in _alternatives(train):
        other = train.model_copy(update=changes)
        found = estimate(other, shape, longest)
        if found.total <= available_gb:
            lines = "\n".join(f"    {name}: {_yaml(value)}" for name, value in changes.items())
            return f"This fits (about {found.total:.1f} GB), with the same global batch:\n{lines}"
    return (
        "No batch size, checkpointing or sharding fits: more GPUs (nodes), LoRA, or less max_length"
    )


def _alternatives(train: TrainSpec) -> Iterator[dict[str, Any]]:
    """Changes to try: smaller batches with more accumulation, then checkpointing, then for LoRA the
    frozen weights in bfloat16, then sharding."""
    dtypes = [train.model_dtype]
    if train.use_peft and train.model_dtype == "float32":
        dtypes.append("bfloat16")
    shardings: list[str] = [train.parallelism]
    if train.world_size > 1:
        shardings += [kind for kind in ("fsdp2", "zero3") if kind != train.parallelism]
    batch, steps = train.per_device_train_batch_size, train.gradient_accumulation_steps
    divisors = [d for d in range(1, batch + 1) if batch % d == 0]
    for sharding in shardings:
        kinds = dict.fromkeys((train.gradient_checkpointing, True))
        for dtype, checkpointing in product(dtypes, kinds):
            for divisor in divisors:
                changes: dict[str, Any] = {}
                if dtype != train.model_dtype:
                    changes["model_dtype"] = dtype
                if sharding != shardings[0]:
                    changes["parallelism"] = sharding
                if checkpointing != train.gradient_checkpointing:
                    changes["gradient_checkpointing"] = True
                if divisor > 1:
                    changes["per_device_train_batch_size"] = batch // divisor
                    changes["gradient_accumulation_steps"] = steps * divisor
                if changes:
                    yield changes


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
