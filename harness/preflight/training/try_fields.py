"""Would the trainer take these fields: built for real, in the environment that trains.

    <its python> try_fields.py < question.json

It runs there by its text, so it imports nothing of ours. The question is `sft` (fields of SFTConfig),
`lora` (of LoraConfig, or null) and `modules` (module: the field that needs it); the answer `refused`
([field, why]) and `absent` (modules that are not installed). Whatever needs a GPU is not asked for.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any

STEPS = 10


def refusals(build: Callable[..., Any], fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Which fields, and why: each is one without which there is no such problem."""
    left = dict(fields)
    while why := problem(build, left):
        others = {name: {k: v for k, v in left.items() if k != name} for name in left}
        guilty = next((name for name in left if problem(build, others[name]) != why), "")
        yield guilty, why
        if not guilty:
            return
        left = others[guilty]


def problem(build: Callable[..., Any], fields: Mapping[str, Any]) -> str:
    """Why it cannot be built; empty where it can."""
    try:
        build(**fields)
    except Exception as error:  # whatever it may be, training would end by it
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def trained_with(**fields: Any) -> None:
    """Build the configuration, its optimizer and its schedule, as the Trainer does."""
    import torch
    from transformers import Trainer, get_scheduler
    from trl import SFTConfig

    with tempfile.TemporaryDirectory() as folder:
        plain = {"output_dir": folder, "use_cpu": True, "bf16": False, "report_to": "none"}
        config = SFTConfig(**plain | fields)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    try:
        kind, arguments = Trainer.get_optimizer_cls_and_kwargs(config, model)
    except ValueError as error:
        if "target modules" in str(error) and config.optim_target_modules:
            return  # this small model has no such layers
        raise
    if not isinstance(kind, type) or {"params", "model", "optimizer_dict"} & set(arguments):
        return
    optimizer = kind(model.parameters(), **arguments)
    schedule = get_scheduler(
        config.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=1,
        num_training_steps=STEPS,
        scheduler_specific_kwargs=config.lr_scheduler_kwargs or {},
    )
    if "plateau" in config.lr_scheduler_type or "greedy" in config.lr_scheduler_type:
        return  # they step by a loss
    for _ in range(STEPS):
        schedule.step()


def adapted_with(**fields: Any) -> None:
    """Build the adapter's configuration."""
    from peft import LoraConfig

    LoraConfig(task_type="CAUSAL_LM", **fields)


def main() -> None:
    """Answer on standard output; what an import prints goes to standard error."""
    question = json.load(sys.stdin)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):
        trained_with()  # else it is the environment that fails, which no field can cure
        absent = [name for name in question["modules"] if find_spec(name) is None]
        left_out = [question["modules"][name] for name in absent]
        sft = {k: v for k, v in question["sft"].items() if k not in left_out}
        found = list(refusals(trained_with, sft))
        if question["lora"]:
            found += refusals(adapted_with, question["lora"])
    print(json.dumps({"refused": found, "absent": absent}))


if __name__ == "__main__":
    main()
