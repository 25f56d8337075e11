"""How long the scan of all rows and the whole `check` take, against a bare pyarrow scan.

    python -m tests.benchmarks.check_speed [ROWS] [ROUNDS]

Two-turn rows. The bare scan counts the roles of all turns, and nothing else.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from harness.chats.dataset import SavedDataset, read_saved_dataset
from harness.preflight.rows.scan import scan_rows
from tests.preflight.support import MESSAGES, TEMPLATES, model, saved_dataset, turn


def bare(dataset: SavedDataset) -> None:
    """The least that reads every turn."""
    for batch in dataset.batches(("messages",)):
        pc.value_counts(pc.struct_field(pc.list_flatten(batch.column(0)), "role"))


def main(rows: int = 3000, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = read_saved_dataset(written(folder / "data", rows), "train")
        train = {"model_name": str(model(folder / "model")), "dataset_name": str(folder / "data"),
                 "chat_template_path": str(TEMPLATES / "qwen3.jinja"), "max_steps": 2,
                 "use_cpu": True, "bf16": False}  # fmt: skip
        (folder / "sft.yaml").write_text(yaml.safe_dump({"train": train}))
        argv = [sys.executable, "-m", "harness", "check", str(folder / "sft.yaml"),
                "--set-site", "scheduler=local"]  # fmt: skip
        ways: dict[str, Callable[[], object]] = {
            "bare pyarrow scan": lambda: bare(dataset),
            "scan of all rows": lambda: scan_rows(dataset, ("messages",), ("messages",), ()),
            "the whole check": lambda: subprocess.run(argv, capture_output=True, check=True),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, do in ways.items():
                began = time.perf_counter()
                do()
                seconds[way].append(time.perf_counter() - began)
    least = statistics.median(seconds["bare pyarrow scan"])
    for way, found in seconds.items():
        median = statistics.median(found)
        print(
            f"{way:18} of {rows:,} rows: {median:7.3f} s   {median / least:8.1f} times the bare one"
        )


def written(folder: Path, rows: int) -> Path:
    """Two-turn rows in batches of a thousand, as `save_to_disk` writes them."""
    saved_dataset(folder, rows=1)
    chat = pa.array(
        [turn(f"What is {i} + 1? " * 4, "It is known. " * 6) for i in range(1000)], MESSAGES
    )
    batch = pa.record_batch([chat], ["messages"])
    with pa.ipc.new_stream(folder / "data.arrow", batch.schema) as writer:
        for _ in range(-(-rows // 1000)):
            writer.write_batch(batch)
    return folder


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
