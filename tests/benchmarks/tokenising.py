"""How fast rows are tokenised by one and two processes, against TRL's own preparation.

    python -m tests.benchmarks.tokenising [ROWS] [ROUNDS]

Synthetic chats of four turns and about 200 words, a small byte-level BPE tokenizer, the Qwen3
template, assistant_only_loss, max_length 2048. All ways are run in turn, so that a drifting machine
slows all alike; the ratios are of medians. TRL's preparation is what SFTTrainer does in its
constructor with `dataset_num_proc` unset: one process.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import datasets
from trl import SFTTrainer

from harness.compute.train.arguments import parse
from harness.compute.train.rows import tokenise
from harness.compute.train.rows.sources import Part
from tests.support import ROOT
from tests.tiny_model import make_tiny_tokenizer

TEMPLATE = ROOT / "templates" / "chat" / "qwen3.jinja"
PLAIN = "TRL's own, 1 process"


def make_chats(folder: Path, rows: int) -> Path:
    """Chats of random words; the same for the same number."""
    chance = random.Random(0)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(5000)]

    def turn(number: int) -> dict[str, str]:
        text = " ".join(chance.choices(words, k=chance.randint(20, 80)))
        return {"role": "assistant" if number % 2 else "user", "content": text}

    chats = [[turn(number) for number in range(4)] for _ in range(rows)]
    datasets.Dataset.from_dict({"messages": chats}).save_to_disk(folder)
    return folder


def main(rows: int = 8000, rounds: int = 3) -> None:
    datasets.disable_progress_bars()
    datasets.disable_caching()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tiny_tokenizer(folder / "model")
        make_chats(folder / "data", rows)
        argv = [
            "--model_name", str(folder / "model"), "--dataset_name", str(folder / "data"),
            "--output_dir", str(folder / "out"), "--max_length", "2048", "--use_cpu", "True",
            "--bf16", "False", "--assistant_only_loss", "True", "--report_to", "none",
            "--chat_template_path", str(TEMPLATE),
        ]  # fmt: skip
        seconds = measure(argv, rounds)
    for way, found in seconds.items():
        median = statistics.median(found)
        ratio = statistics.median(seconds[PLAIN]) / median
        print(f"{way:22} {rows / median:8,.0f} rows/s   {ratio:.2f} times TRL's own")


def measure(argv: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each way."""
    script, config = parse(argv)
    tokenizer = tokenise.load_tokenizer(script, config)
    data = datasets.load_from_disk(script.dataset_name)
    trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss=False)
    seconds: dict[str, list[float]] = {}
    for round_ in range(rounds + 1):
        for processes in (None, 1, 2):
            config.dataset_num_proc = processes
            began = time.perf_counter()
            if processes is None:
                SFTTrainer._prepare_dataset(trainer, data, tokenizer, config, False, None, "train")
            else:
                tokenise.prepare([Part("data", data)], tokenizer, config)
            if round_:  # the first fills the caches
                way = f"{processes} processes" if processes else PLAIN
                seconds.setdefault(way, []).append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
