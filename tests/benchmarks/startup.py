"""How long `python -m harness --help` takes, against `python -c "import submitit"`.

    python -m tests.benchmarks.startup [ROUNDS]

Both are run in turn, so that a drifting machine slows both; the ratio is of medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -m harness --help": [sys.executable, "-m", "harness", "--help"],
    'python -c "import submitit"': [sys.executable, "-c", "import submitit"],
}


def main(rounds: int = 15) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(rounds + 1):
        for name, argv in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True)
            if round_:  # the first fills the caches
                seconds[name].append(time.perf_counter() - began)
    ours, theirs = (statistics.median(found) for found in seconds.values())
    for name, found in seconds.items():
        print(f"{name:28} median {statistics.median(found):.3f} s of {rounds}")
    print(f"ratio {ours / theirs:.2f} (goal: at most 2)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
