"""The parts one after the other, and one table; see run.sh beside this."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.gpu import large, packing, resume, serving, speed
from tests.gpu.figures import Figure, Size, table

PARTS: dict[str, Callable[[Size], list[Figure]]] = {
    "speed": speed.figures,
    "packing": packing.figures,
    "large": large.figures,
    "resume": resume.figures,
    "serving": serving.figures,
}
LIMIT_S = 360


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table; 0 where nothing is amiss."""
    parser = argparse.ArgumentParser(prog="tests/gpu/run.sh", description=__doc__)
    parser.add_argument("parts", nargs="*", help="all, where none is named")
    parser.add_argument("--cpu", action="store_true", help="toy size, without a GPU")
    given = parser.parse_args(argv)
    device = _device(given.cpu)
    if device is None:
        print(
            "no CUDA GPU is visible to PyTorch here; --cpu runs the same at toy size",
            file=sys.stderr,
        )
        return 3
    found, began = [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        size = Size(given.cpu, Path(folder))
        for name in given.parts or PARTS:
            started = time.monotonic()
            found += _measured(name, size)
            print(f"[{time.monotonic() - began:4.0f} s] {name}: {time.monotonic() - started:.0f} s",
                  flush=True)  # fmt: skip
    seconds = time.monotonic() - began
    found.append(Figure("all of it", f"{seconds:.0f} s", f"under {LIMIT_S} s",
                        size.judged(seconds < LIMIT_S)))  # fmt: skip
    print(f"\n{device}\n{table(found)}")
    return 1 if any(figure.ok is False for figure in found) else 0


def _measured(name: str, size: Size) -> list[Figure]:
    try:
        return PARTS[name](size)
    except (Exception, SystemExit) as problem:  # a part that breaks is a line, and the others go on
        print(f"{name}: {problem}", file=sys.stderr, flush=True)
        last = (str(problem).strip().splitlines() or [type(problem).__name__])[-1]
        return [Figure(name, f"broke: {last[:80]}", "runs", False)]


def _device(cpu: bool) -> str | None:
    import torch

    if cpu:
        return f"CPU, toy size; torch {torch.__version__}"
    if not torch.cuda.is_available():
        return None
    return f"{torch.cuda.get_device_name()}; torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(main())
