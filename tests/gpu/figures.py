"""What was measured, against its goal; the table of it, and the size at which all is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import ROOT


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    goal: str
    ok: bool | None
    """None: not judged, as on a CPU, where the figure says nothing of a GPU."""

    @property
    def word(self) -> str:
        return {True: "ok", False: "NOT OK", None: "not judged"}[self.ok]


def table(figures: Sequence[Figure]) -> str:
    """Lines of equal columns."""
    rows = [("what", "figure", "goal", ""), *((f.what, f.value, f.goal, f.word) for f in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


@dataclass(frozen=True)
class Size:
    """At which size the parts are run: a GPU's, or a toy's for the CPU."""

    cpu: bool
    folder: Path

    @property
    def device_fields(self) -> dict[str, Any]:
        """Fields of `train`: one process, on the GPU or the CPU."""
        if self.cpu:
            return {"use_cpu": True, "cpu_processes": 1, "bf16": False}
        return {"gpus_per_node": 1, "bf16": True}

    def pick(self, gpu: Any, toy: Any) -> Any:
        return toy if self.cpu else gpu

    def judged(self, ok: bool) -> bool | None:
        """Of a figure that only a GPU can decide."""
        return None if self.cpu else ok


def child(module: str, size: Size) -> dict[str, Any]:
    """What `python -m MODULE FOLDER cpu|gpu` prints last, as JSON; it frees the GPU when it ends.

    Raises RuntimeError with the end of what it wrote.
    """
    folder = size.folder / module.rpartition(".")[2]
    folder.mkdir()
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if size.cpu else {}
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder), size.pick("gpu", "cpu")],
        cwd=ROOT, env={**os.environ, **hidden}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(
            f"{module} exited {done.returncode}: {(done.stdout + done.stderr)[-1500:]}"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
