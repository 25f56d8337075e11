"""Every rank's way to the tokenised rows: one of them has them made, all of them wait for a folder.

Nothing here is a collective, so nothing can time out while a million rows are tokenised.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import Dataset, load_from_disk

from harness.compute.train import tokenise
from harness.compute.train.arguments import ScriptArguments, TrainingConfig
from harness.compute.train.callbacks import StopRequest
from harness.errors import TrainingError, UserError
from harness.runs.paths import TokenisedPaths

SILENT_SECONDS = 180.0
"""Without a sign of life for so long, the process that tokenises counts as dead."""
_POLL_SECONDS = 0.2
_OF_THE_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_",
                    "ACCELERATE_", "FSDP_")  # fmt: skip


def tokenised_rows(
    script: ScriptArguments, config: TrainingConfig, request: StopRequest, argv: Sequence[str]
) -> Dataset | None:
    """The rows, made first where they are not there; None when told to stop meanwhile.

    `argv` are this script's arguments. Raises UserError for rows that cannot be trained on,
    TrainingError when the process that makes them dies.
    """
    target = tokenise.place(script, config, tokenise.load_tokenizer(script, config))
    if not target.is_whole:
        going_on = (
            _make(target, request, argv) if config.process_index == 0 else _wait(target, request)
        )
        if not going_on:
            return None
    elif config.process_index == 0:
        print(f"rows were tokenised before: {target.root}", flush=True)
    return load_from_disk(str(target.rows))


def _make(target: TokenisedPaths, request: StopRequest, argv: Sequence[str]) -> bool:
    """Run the tokenising process; False when told to stop, and then it has ended, too."""
    command = [sys.executable, "-m", "harness.compute.train.tokenise", *argv, "--use_cpu", "True"]
    process = subprocess.Popen(command, env=child_environment(os.environ))
    try:
        while (code := process.poll()) is None:
            if request.received is not None:
                return False
            time.sleep(_POLL_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code == UserError.exit_code:
        known = target.problem.is_file()
        raise UserError(target.problem.read_text() if known else "see the error above")
    if code != 0 or not target.is_whole:
        raise TrainingError(f"tokenising failed (exit code {code}); see the lines above")
    return True


def _wait(target: TokenisedPaths, request: StopRequest) -> bool:
    """Wait for rank 0's folder; False when told to stop."""
    heard = time.monotonic()
    seen: float | None = None
    while not target.is_whole:
        if request.received is not None:
            return False
        sign = _modified(target.alive)
        if sign != seen:
            heard, seen = time.monotonic(), sign
        if time.monotonic() - heard > SILENT_SECONDS:
            raise TrainingError(
                f"rank 0 gave no sign of tokenising for {SILENT_SECONDS:.0f} s ({target.alive})"
            )
        time.sleep(_POLL_SECONDS)
    return True


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """A process of its own: it takes part in no group, sees no GPU, and shows progress in lines."""
    kept = {k: v for k, v in env.items() if not k.startswith(_OF_THE_LAUNCHER)}
    return {
        **kept,
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_MININTERVAL": "10",
        "TQDM_NCOLS": "100",
    }
