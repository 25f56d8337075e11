"""Every rank's way to the tokenised rows: one of them has them made, all of them wait for a folder.

Nothing here is a collective, so nothing can time out while a million rows are tokenised.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import Dataset, load_from_disk

from harness.compute.train.arguments import ScriptArguments, TrainingConfig
from harness.compute.train.rows import tokenise
from harness.compute.train.stop import StopRequest
from harness.errors import ResultError, TrainingError, UserError
from harness.processes.kin import exit_code, kin
from harness.processes.shell import own_module
from harness.runs.files import read_json
from harness.runs.tokenised import TokenisedPaths

SILENT_S = 300.0
"""When no row got done for so long, tokenising is stuck."""
START_S = 900.0
"""The same, before the first sign: imports from a slow disk, and the tokenizer."""
_POLL_S = 0.2
_OF_THE_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_",
                    "ACCELERATE_", "FSDP_", "PMI_", "PMIX_", "OMPI_", "MV2_")  # fmt: skip
OF_NO_DEVICE = [
    word
    for name in ("bf16", "fp16", "bf16_full_eval", "fp16_full_eval", "tf32", "torch_compile")
    for word in (f"--{name}", "False")
] + ["--use_cpu", "True"]
"""Arguments that need the GPU, and that rows do not depend on."""


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
        # Told in the moment they got whole: another rank goes on, and would wait for this one.
        if not going_on and not target.is_whole:
            return None
    elif config.process_index == 0:
        print(f"rows were tokenised before: {target.root}", flush=True)
    return load_from_disk(str(target.rows))


def _make(target: TokenisedPaths, request: StopRequest, argv: Sequence[str]) -> bool:
    """Run the tokenising process; False when told to stop. All of it has ended then."""
    # Of this very package: it may be another than the one that is installed here.
    command = own_module("harness.compute.train.rows.tokenise", *argv, *OF_NO_DEVICE)
    life = _Life(target)
    with kin(command, child_environment(os.environ)) as process:
        while (code := exit_code(process)) is None:
            if request.received is not None:
                return False
            life.check("it")
            time.sleep(_POLL_S)
    if code == 0 and target.is_whole:
        return True
    life.raise_problem()
    if code == UserError.exit_code:
        raise UserError("the rows cannot be tokenised: see the error above")
    raise TrainingError(f"tokenising failed (exit code {code}); see the lines above")


def _wait(target: TokenisedPaths, request: StopRequest) -> bool:
    """Wait for rank 0's folder; False when told to stop."""
    life = _Life(target)
    while not target.is_whole:
        if request.received is not None:
            return False
        life.raise_problem()
        life.check("rank 0")
        time.sleep(_POLL_S)
    return True


class _Life:
    """What is seen of the process that tokenises."""

    def __init__(self, target: TokenisedPaths) -> None:
        self._target = target
        self._old_problem = _modified(target.problem)
        self._heard = time.monotonic()
        self._sign = _modified(target.alive)
        self._began = False

    def check(self, who: str) -> None:
        """Raise TrainingError when no row got done for too long."""
        sign = _modified(self._target.alive)
        if sign != self._sign:
            self._heard, self._sign, self._began = time.monotonic(), sign, True
        limit = SILENT_S if self._began else START_S
        if time.monotonic() - self._heard > limit:
            raise TrainingError(
                f"tokenising is stuck: {who} got no row done for {limit:.0f} s "
                f"({self._target.alive})"
            )

    def raise_problem(self) -> None:
        """Raise what the process of this start left as its reason, if it did."""
        if _modified(self._target.problem) in (None, self._old_problem):
            return
        try:
            problem = read_json(self._target.problem)
        except ResultError:
            return  # another start removes it
        if problem["start"] == tokenise.start_name(os.environ):
            raise (UserError if problem["of_the_input"] else TrainingError)(problem["reason"])


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """A process of its own: it takes part in no group, and sees no GPU."""
    kept = {k: v for k, v in env.items() if not k.startswith(_OF_THE_LAUNCHER)}
    return {
        **kept,
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        tokenise.START_VARIABLE: tokenise.start_name(env),
    }
