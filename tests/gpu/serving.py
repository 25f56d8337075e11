"""`transformers serve` on this device, asked by `eval` as a user would have it."""

from __future__ import annotations

import json

from tests.gpu.figures import Figure, Size
from tests.support import harness
from tests.tiny_model import make_tiny_model

ITEMS = 8


def figures(size: Size) -> list[Figure]:
    """The state of a cell: its gates have seen a proven server and an answer to each item."""
    folder = size.folder / "serving"
    template = "templates/chat/qwen3_nonthinking.jinja"
    model = make_tiny_model(folder / "model", initializer_range=0.4)
    device = ["server.gpus=0", "server.flags.device=cpu"] if size.cpu else ["server.gpus=1"]
    fields = [*device, "server.dtype=float32", f"max_items={ITEMS}", "sampling.max_tokens=8"]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if size.cpu else {}
    done = harness(
        "eval", str(model), "-b", "arithmetic", "--engine", "transformers", "--local",
        "--chat-template", template, "--poll", "1", *(w for f in fields for w in ("--set", f)),
        "--set-site", f"runs_dir={folder / 'runs'}", "--set-site", f"benchmarks_dir={folder / 'b'}",
        **hidden,
    )  # fmt: skip
    files = list((folder / "runs").glob("*/*/eval/base/arithmetic/task.json"))
    word = json.loads(files[0].read_text())["state"] if files else "no cell"
    if word != "ok":
        raise RuntimeError(f"the cell is {word}: {(done.stdout + done.stderr)[-1500:]}")
    return [Figure("transformers serve through eval", f"{word}, {ITEMS} items", "ok", True)]
