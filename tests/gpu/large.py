"""A model of the shape of Qwen3-1.7B: MFU, and peak memory against what `check` estimates.

python -m tests.gpu.large FOLDER cpu|gpu      # prints one JSON object last
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from tests.gpu.figures import Figure, Size, child

MFU = 0.3
"""Published for this size on one H100: 21k to 33k tokens/s, which are 22 to 34 %."""
MEMORY = 0.15
STEPS, WARM_UP = 14, 4


def figures(size: Size) -> list[Figure]:
    """In a process of its own."""
    found = child("tests.gpu.large", size)
    mfu, peak, estimate = found["mfu"], found["peak_gb"], found["estimate_gb"]
    off = estimate / peak - 1
    return [
        Figure(
            f"MFU, {found['parameters'] / 1e9:.2f}B parameters, {found['tokens_per_second']:,.0f} tokens/s",
            "unknown" if mfu is None else f"{mfu:.1%}",
            f">= {MFU:.0%}",
            None if mfu is None else size.judged(mfu >= MFU),
        ),
        Figure(
            "memory, check's estimate / peak",
            f"{off:+.1%} ({estimate:.1f} / {peak:.1f} GB)",
            f"within {MEMORY:.0%}",
            size.judged(abs(off) <= MEMORY),
        ),
    ]


def make_model(folder: Path, cpu: bool) -> Path:
    """Random weights in the shape of Qwen/Qwen3-1.7B, with the small tokenizer; on CPU tiny."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from tests.tiny_model import make_tiny_model, make_tiny_tokenizer

    if cpu:
        return make_tiny_model(folder)
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_tokenizer(folder))
    config = Qwen3Config(
        vocab_size=151936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
        max_position_embeddings=40960, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.device("cuda"):
        model = Qwen3ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    del model
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return folder


def main(folder: Path, cpu: bool) -> None:
    from harness.compute.train.run_log import RunLog
    from harness.config.training.train import TrainSpec
    from harness.preflight.training.memory import FIXED_GB, estimate
    from harness.runs.models.shape import read_shape
    from tests.benchmarks.packing_speed import long_tailed
    from tests.gpu.packing import trainer

    model = make_model(folder / "model", cpu)
    found, _ = trainer(model, folder / "out", cpu, True, 1 if cpu else 2, STEPS,
                       long_tailed(150 if cpu else 1200))  # fmt: skip
    log = folder / "log.jsonl"
    found.add_callback(RunLog(log, folder / "state.json", "gpu"))
    found.train()
    lines = [json.loads(line) for line in log.read_text().splitlines()][WARM_UP:]
    shape = read_shape(model)
    train = TrainSpec(
        model_name=str(model), dataset_name="-", packing=True, gradient_checkpointing=False,
        gpus_per_node=1, bf16=not cpu, max_length=found.args.max_length,
        per_device_train_batch_size=found.args.per_device_train_batch_size,
    )  # fmt: skip
    known = [line["mfu"] for line in lines if line["mfu"] is not None]
    print(json.dumps({
        "parameters": shape.parameters,
        "mfu": statistics.median(known) if known else None,
        "tokens_per_second": statistics.median(line["tokens_per_second"] for line in lines),
        "peak_gb": max(line["peak_memory_gb"] for line in lines),
        # What torch allocates: the CUDA context is beside it.
        "estimate_gb": estimate(train, shape).total - FIXED_GB,
    }))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "cpu")
