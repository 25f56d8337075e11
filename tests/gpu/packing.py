"""Packed rows against padded ones: tokens per second, and each document's loss.

    python -m tests.gpu.packing FOLDER cpu|gpu      # prints one JSON object last

Packed rows train with what the job would choose: FlashAttention on a GPU.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.gpu.figures import Figure, Size, child

TEMPLATE = "qwen3_nonthinking.jinja"


def figures(size: Size) -> list[Figure]:
    """In a process of its own."""
    found = child("tests.gpu.packing", size)
    gain = found["packed"] / found["padded"]
    speeds = f"{gain:.2f} ({found['packed']:,.0f} / {found['padded']:,.0f})"
    word, limit = found["attention"], found["limit"]
    return [
        Figure("attention of packed rows", word, "flash_attention_*", size.judged("flash" in word)),
        Figure("tokens/s, packed / padded", speeds, "> 1", size.judged(gain > 1)),
        Figure(
            f"loss of {found['documents']} documents, packed - alone",
            f"at most {found['difference']:.1e}",
            f"<= {limit:g}",
            found["difference"] <= limit,
        ),
        Figure(
            "the same, as neighbours' loss would be",
            f"{found['mixed']:.1e}",
            f"> {limit:g}",
            found["mixed"] > limit,
        ),
    ]


def arguments(folder: Path, cpu: bool, packing: bool, batch: int, steps: int) -> list[str]:
    device = ["--use_cpu", "--bf16", "False"] if cpu else ["--bf16", "True"]
    return [
        "--model_name", "unused", "--dataset_name", "unused", "--output_dir", str(folder),
        "--chat_template_path", TEMPLATE, "--assistant_only_loss", "True", "--report_to", "none",
        "--max_steps", str(steps), "--save_strategy", "no", "--gradient_checkpointing", "False",
        "--logging_steps", "1", "--disable_tqdm", "True", "--max_length", "512" if cpu else "4096",
        "--per_device_train_batch_size", str(batch), "--packing", str(packing), *device,
    ]  # fmt: skip


def trainer(
    model: Path, folder: Path, cpu: bool, packing: bool, batch: int, steps: int, rows: Any
) -> tuple[Any, str]:
    """A trainer, and the attention that it trains with."""
    from harness.compute.train.arguments import parse
    from harness.compute.train.attention import attention
    from harness.compute.train.trainer import CheckpointingTrainer

    script, config = parse(arguments(folder, cpu, packing, batch, steps))
    chosen = attention(script, config) or "sdpa"
    config.model_init_kwargs = {"attn_implementation": chosen, "dtype": "float32"}
    return CheckpointingTrainer(model=str(model), args=config, train_dataset=rows), chosen


def make_model(folder: Path, cpu: bool) -> Path:
    """A Qwen3 of 180 million parameters, with the small tokenizer; on CPU a tiny one."""
    from tests.benchmarks.job_speed import make_model as make_qwen3
    from tests.tiny_model import make_tiny_model

    if cpu:
        return make_tiny_model(folder, initializer_range=0.1)
    return make_qwen3(
        folder, hidden_size=1024, num_hidden_layers=12, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=4096,
    )  # fmt: skip


def tokens_per_second(found: Any, warm_up: int) -> float:
    """Real tokens, padding not counted; the first steps compile."""
    from tests.benchmarks.packing_speed import Clock

    clock = Clock()
    found.add_callback(clock)
    found.train()
    timed = [t for t in clock.times if t[0] >= warm_up]
    return (timed[-1][2] - timed[0][2]) / (timed[-1][1] - timed[0][1])


def documents(batch: dict[str, Any]) -> list[tuple[int, int]]:
    """Where each document of a packed row begins and ends: positions begin at 0 again."""
    positions = batch["position_ids"][0].tolist()
    starts = [i for i, position in enumerate(positions) if position == 0]
    return list(zip(starts, [*starts[1:], len(positions)], strict=True))


def losses(found: Any, batch: dict[str, Any], spans: list[tuple[int, int]]) -> dict[Any, float]:
    """Mean loss of each document's trained tokens, by its ids."""
    import torch

    model, device = found.model.eval(), found.args.device
    inputs = {k: v.to(device) if hasattr(v, "to") else v for k, v in batch.items()}
    del inputs["labels"]
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=found.args.bf16):
        logits = model(**inputs, use_cache=False).logits[0].float()
    result = {}
    for begin, end in spans:
        labels = batch["labels"][0, begin + 1 : end].to(device)
        if bool((labels != -100).any()):
            key = tuple(batch["input_ids"][0, begin:end].tolist())
            result[key] = torch.nn.functional.cross_entropy(
                logits[begin : end - 1], labels, ignore_index=-100
            ).item()
    return result


def compared(packed: Any, padded: Any, rows: int) -> tuple[int, float, float]:
    """Documents, the largest difference of their losses, and that of rows that see neighbours.

    Both by the same weights: the packed trainer's model goes into the padded trainer's attention.
    """
    padded.model.load_state_dict(packed.model.state_dict())
    together: dict[Any, float] = {}
    mixed: dict[Any, float] = {}
    fullest = sorted(packed.train_dataset, key=lambda row: -len(row["seq_lengths"]))
    for row in fullest[:rows]:
        batch = packed.data_collator([row])
        spans = documents(batch)
        together |= losses(packed, batch, spans)
        mixed |= losses(packed, {k: batch[k] for k in ("input_ids", "labels")}, spans)
    alone: dict[Any, float] = {}
    for row in padded.train_dataset:
        if tuple(row["input_ids"]) in together:
            batch = padded.data_collator([row])
            alone |= losses(padded, batch, [(0, batch["input_ids"].shape[1])])
    same = [abs(together[key] - alone[key]) for key in alone]
    other = [abs(mixed[key] - alone[key]) for key in alone]
    return len(same), max(same), max(other)


def main(folder: Path, cpu: bool) -> None:
    from tests.benchmarks.packing_speed import long_tailed

    model = make_model(folder / "model", cpu)
    steps, warm_up = (4, 1) if cpu else (25, 5)
    rows = long_tailed(120 if cpu else 1500)
    batch = 4 if cpu else 16  # long-tailed rows are about 160 tokens
    packed, chosen = trainer(model, folder / "packed", cpu, True, 1, steps, rows)
    padded, _ = trainer(model, folder / "padded", cpu, False, batch, steps, rows)
    found = {
        "attention": chosen,
        "packed": tokens_per_second(packed, warm_up),
        "padded": tokens_per_second(padded, warm_up),
        "limit": 1e-4 if cpu else 2e-2,  # float32, and bfloat16 by other kernels
    }
    count, difference, mixed = compared(packed, padded, 4)
    print(json.dumps(found | {"documents": count, "difference": difference, "mixed": mixed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "cpu")
