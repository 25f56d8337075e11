"""Tokens per second with packing, against padding, on a CPU.

    python -m tests.benchmarks.packing_speed [ROUNDS] [STEPS]

Two sets: the real GSM8K chat rows, and synthetic rows with a long tail (log-normal, mean 650 and at
most 4096 tokens, both scaled down by four for the CPU). Tokens are real ones, padding not counted.
A padded batch is 4 rows; a packed one the same number of real tokens. Packed rows train with sdpa
here, which computes all of a packed row's attention; FlashAttention leaves out what is masked, so
a GPU gains more. Rounds in turn; ratio of medians and of the best. About 3 minutes.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import transformers
from datasets import Dataset
from transformers import TrainerCallback

from harness.compute.train.arguments import parse
from harness.compute.train.trainer import CheckpointingTrainer
from tests.benchmarks.job_speed import make_model
from tests.support import ROOT, shared_data

TEMPLATE = ROOT / "templates" / "chat" / "qwen3_nonthinking.jinja"
BATCH, WARM_UP = 4, 1
MAX_LENGTH = 1024


class Clock(TrainerCallback):  # type: ignore[misc]
    """(step, seconds, real tokens so far) at each log."""

    def __init__(self) -> None:
        self.times: list[tuple[int, float, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "num_tokens" in logs:
            self.times.append((state.global_step, time.monotonic(), logs["num_tokens"]))


def gsm8k(count: int) -> Dataset | None:
    data = shared_data()
    if data is None:
        return None
    with (data / "gsm8k_train.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return chats([(row["question"], row["answer"]) for row in rows])


def long_tailed(count: int) -> Dataset:
    """Rows of log-normal length; each digit is one token of the tokenizer."""
    dice = random.Random(0)
    sigma, mean = 1.0, 650 / 4
    lengths = [dice.lognormvariate(0, sigma) * mean / 2.718281828 ** (sigma**2 / 2)
               for _ in range(count)]  # fmt: skip
    return chats([("Go.", "7" * max(4, min(int(n), 1000))) for n in lengths])


def chats(pairs: list[tuple[str, str]]) -> Dataset:
    return Dataset.from_list(
        [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
         for q, a in pairs]
    )  # fmt: skip


def trainer(model: Path, folder: Path, rows: Dataset, packing: bool, batch: int, steps: int) -> Any:
    _, config = parse(
        ["--model_name", "unused", "--dataset_name", "unused", "--output_dir", str(folder),
         "--chat_template_path", str(TEMPLATE), "--assistant_only_loss", "--use_cpu", "--bf16",
         "False", "--report_to", "none", "--max_steps", str(steps), "--save_strategy", "no",
         "--gradient_checkpointing", "False", "--logging_steps", "1", "--disable_tqdm", "True",
         "--per_device_train_batch_size", str(batch), "--max_length", str(MAX_LENGTH),
         "--packing", str(packing), "--model_init_kwargs", '{"attn_implementation": "sdpa"}']
    )  # fmt: skip
    return CheckpointingTrainer(model=str(model), args=config, train_dataset=rows)


def measure(
    model: Path, folder: Path, rows: Dataset, packing: bool, batch: int, steps: int
) -> tuple[float, float]:
    """Real tokens/s, and the share of positions that is padding."""
    found = trainer(model, folder, rows, packing, batch, steps)
    clock = Clock()
    found.add_callback(clock)
    found.train()
    timed = [t for t in clock.times if t[0] >= WARM_UP]
    speed = (timed[-1][2] - timed[0][2]) / (timed[-1][1] - timed[0][1])
    real = positions = 0
    for inputs in found.get_train_dataloader():
        ids = inputs["input_ids"].numel()
        positions += ids
        real += int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else ids
    return speed, 1 - real / positions


def packed_batch(rows: Dataset, model: Path) -> int:
    """Packed rows that hold about as many tokens as BATCH rows."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    template = TEMPLATE.read_text(encoding="utf-8")
    texts = [tokenizer.apply_chat_template(m, chat_template=template, tokenize=False)
             for m in rows["messages"][:200]]  # fmt: skip
    mean = statistics.mean(min(len(ids), MAX_LENGTH) for ids in tokenizer(texts)["input_ids"])
    return max(1, round(BATCH * mean / MAX_LENGTH))


def main(rounds: int = 2, steps: int = 8) -> None:
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    sets = {"gsm8k": gsm8k(400), "long tail": long_tailed(400)}
    with tempfile.TemporaryDirectory() as name:
        model = make_model(Path(name) / "model")
        for word, rows in sets.items():
            if rows is None:
                print(f"{word}: left out, the shared benchmark data is not here")
                continue
            compare(word, rows, model, Path(name) / "out", rounds, steps)


def compare(word: str, rows: Dataset, model: Path, out: Path, rounds: int, steps: int) -> None:
    batches = {False: BATCH, True: packed_batch(rows, model)}
    speeds: dict[bool, list[float]] = {False: [], True: []}
    waste = {}
    for _ in range(rounds):
        for packing, batch in batches.items():
            speed, waste[packing] = measure(model, out, rows, packing, batch, steps)
            speeds[packing].append(speed)
    for packing, label in (
        (False, f"padded, {BATCH} rows"),
        (True, f"packed, {batches[True]} rows"),
    ):
        found = speeds[packing]
        print(f"{word:10} {label:16} median {statistics.median(found):7,.0f} best {max(found):7,.0f} "
              f"tokens/s   {100 * waste[packing]:4.1f} % padding", flush=True)  # fmt: skip
    medians = statistics.median(speeds[True]) / statistics.median(speeds[False])
    best = max(speeds[True]) / max(speeds[False])
    print(
        f"{word:10} packed / padded: {medians:.2f} by medians, {best:.2f} by the best", flush=True
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
