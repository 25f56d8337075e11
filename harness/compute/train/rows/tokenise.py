"""Rows to train on, tokenised once, by a process of its own, for every rank and every run alike.

TRL tokenises inside the trainer while the other ranks wait in a collective, which times out
(`ddp_timeout`) long before a million rows are done. Here rank 0 starts

    python -m harness.compute.train.rows.tokenise <the arguments of sft.py>

before the ranks talk to each other; they wait for a folder, and for signs of life. The folder is
named by all that the rows depend on, so a second run finds it there. What is in it are exactly the
rows that SFTTrainer would make of what the renderer of `check` renders, and nothing else.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
from filelock import FileLock, Timeout
from transformers import PreTrainedTokenizerBase
from trl import SFTTrainer

from harness.chats.drawing import SOURCES
from harness.chats.render import Renderer
from harness.chats.rows import RENDERING
from harness.chats.tokenizer import TokenizerSource
from harness.chats.tokenizer import load_tokenizer as load
from harness.compute.train.arguments import ScriptArguments, TrainingConfig, parse
from harness.compute.train.launch import ATTEMPT_VARIABLE
from harness.compute.train.rows.progress import Progress
from harness.compute.train.rows.sources import (
    Part,
    chosen_rows,
    count,
    inputs,
    joined,
    trained_facts,
)
from harness.compute.train.rows.tokens import Tokenise
from harness.errors import HarnessError, TrainingError, UserError
from harness.processes.kin import end_with_starter
from harness.runs.files import utc_now, write_json
from harness.runs.models.folder import find_model
from harness.runs.paths import RunPaths
from harness.runs.tokenised import TokenisedPaths, tokenised_cache

START_VARIABLE = "HARNESS_TOKENISE_START"
"""Tells the process that tokenises which start of training it belongs to."""
_BATCH = 100
"""Rows at a time in one process."""
_PACKAGES = ("trl", "transformers", "tokenizers", "datasets")


def tokenizer_source(script: ScriptArguments, config: TrainingConfig) -> TokenizerSource:
    """Which tokenizer these arguments name, and what is set in it."""
    path = config.chat_template_path
    return TokenizerSource(
        model=script.model_name,
        template=Path(path).read_text(encoding="utf-8") if path is not None else None,
        eos_token=config.eos_token,
        trust_remote_code=bool(config.trust_remote_code),
        revision=(config.model_init_kwargs or {}).get("revision"),
    )


def load_tokenizer(script: ScriptArguments, config: TrainingConfig) -> PreTrainedTokenizerBase:
    """The tokenizer as SFTTrainer sets it up: with the template and the end token asked for."""
    return load(tokenizer_source(script, config))


def processing_class(script: ScriptArguments, config: TrainingConfig) -> Any:
    """The tokenizer that the rows were made with; None for a model with images or sound, whose
    processor SFTTrainer loads, so that checkpoints have it too."""
    folder = find_model(script.model_name)
    files = ("processor_config.json", "preprocessor_config.json")
    if folder is None or any((folder / name).is_file() for name in files):
        return None
    return load_tokenizer(script, config)


def place(
    script: ScriptArguments, config: TrainingConfig, tokenizer: PreTrainedTokenizerBase
) -> TokenisedPaths:
    """Where the tokenised rows of these arguments lie, or will."""
    if script.run_dir:
        cache = tokenised_cache(RunPaths(Path(script.run_dir)))
    else:
        cache = Path(config.output_dir) / "tokenised"
    text = json.dumps(depends_on(script, config, tokenizer), sort_keys=True)
    return TokenisedPaths(cache, hashlib.sha256(text.encode()).hexdigest()[:16])


def depends_on(
    script: ScriptArguments, config: TrainingConfig, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """All that decides what the tokenised rows are."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab())
    named = (
        "assistant_only_loss", "completion_only_loss", "dataset_text_field", "max_length",
        "packing", "packing_strategy", "truncation_mode", "shuffle_dataset",
    )  # fmt: skip
    return {
        **inputs(script, config.seed, config.shuffle_dataset),
        "rendering": RENDERING,
        "tokenizer": hashlib.sha256(words.encode()).hexdigest(),
        "template": tokenizer.chat_template,
        "eos_token": tokenizer.eos_token,
        "tokenizer_class": type(tokenizer).__name__,
        **{name: getattr(config, name) for name in named},
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }


def make(script: ScriptArguments, config: TrainingConfig) -> None:
    """Tokenise into the cache, whole or not at all; waits where another run is at it.

    Raises UserError for rows that cannot be trained on, TrainingError when a process died of it.
    The reason of any failure is left for those who wait.
    """
    tokenizer = load_tokenizer(script, config)
    target = place(script, config, tokenizer)
    target.cache.mkdir(parents=True, exist_ok=True)
    progress = Progress(target.alive)
    with _lock(target.lock):
        if target.is_whole:
            return
        progress.sign()
        target.problem.unlink(missing_ok=True)
        try:
            _make(target, tokenizer, script, config, progress)
        except Exception as error:
            mine = isinstance(error, HarnessError)
            reason = str(error) if mine else f"{type(error).__name__}: {error}"
            fault = {"reason": reason, "of_the_input": isinstance(error, UserError)}
            write_json(target.problem, {**fault, "start": start_name(os.environ)})
            raise
        finally:
            target.alive.unlink(missing_ok=True)


def start_name(env: Mapping[str, str]) -> str:
    """Names one start of training, alike on all its ranks and in the process that tokenises."""
    given = env.get(START_VARIABLE) or env.get(ATTEMPT_VARIABLE)
    return given or f"{env.get('MASTER_ADDR')}:{env.get('MASTER_PORT')}"


def _make(
    target: TokenisedPaths,
    tokenizer: PreTrainedTokenizerBase,
    script: ScriptArguments,
    config: TrainingConfig,
    progress: Progress,
) -> None:
    for left in target.cache.glob(f".{target.key}.*"):
        shutil.rmtree(left)  # of a process that was killed: we hold the lock
    partial = target.cache / f".{target.key}.{os.getpid()}"
    try:
        count = _build(partial, tokenizer, script, config, progress)
        os.replace(partial, target.root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"tokenised: {count:,} sequences in {target.root}", flush=True)


def _build(
    partial: Path,
    tokenizer: PreTrainedTokenizerBase,
    script: ScriptArguments,
    config: TrainingConfig,
    progress: Progress,
) -> int:
    """Write all that belongs into the folder; returns the number of sequences."""
    parts = chosen_rows(script, config.seed, partial / "source")
    try:
        with progress.instead_of_bars():
            prepared = prepare(parts, tokenizer, config)
    except HarnessError:
        raise
    except (OSError, MemoryError) as error:
        raise TrainingError(f"tokenising failed: {type(error).__name__}: {error}") from error
    except Exception as error:  # a template may raise anything
        if "abruptly died" in str(error):
            raise TrainingError(
                "tokenising failed: one of its processes died, maybe for lack of memory; "
                "a smaller dataset_num_proc needs less"
            ) from None
        raise TrainingError(
            f"tokenising failed, and no row is the cause: {type(error).__name__}: {error}"
        ) from error
    if len(prepared) == 0:
        raise UserError(
            "no row is left to train on: every row lacks an assistant token within max_length "
            f"({config.max_length})"
        )
    building = TokenisedPaths(partial.parent, partial.name)
    with progress.instead_of_bars():
        prepared.save_to_disk(building.rows)
    facts = {"made": utc_now(), "rows": len(prepared), "from_rows": count(parts)}
    facts |= depends_on(script, config, tokenizer)
    if script.dataset_sources is not None:
        facts[SOURCES] = trained_facts(script, config.seed)[SOURCES]
    write_json(building.facts, facts)
    shutil.rmtree(partial / "source")
    return len(prepared)


def prepare(
    parts: Sequence[Part], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> datasets.Dataset:
    """The rows that SFTTrainer would train on: tokens by the renderer that `check` uses, packed and
    shuffled by its own method.

    Tokenising uses `dataset_num_proc` processes (unset: the cores there are); packing uses one, as
    what it puts together would depend on their number. Raises UserError for a row that cannot be
    trained.
    """
    done = joined(parts, lambda rows: _tokens(rows, tokenizer, config), config.seed)
    if config.packing:
        return _packed(done, tokenizer, config)
    return done.shuffle(seed=config.seed) if config.shuffle_dataset else done


def _tokens(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> datasets.Dataset:
    workers = config.dataset_num_proc or len(os.sched_getaffinity(0))
    workers = max(1, min(workers, len(rows) // 1000))
    make = Tokenise(
        Renderer(
            tokenizer,
            masked=config.assistant_only_loss,
            completion_only=config.completion_only_loss is not False,
        ),
        None if config.packing else config.max_length,
        config.truncation_mode == "keep_end",
    )
    done = rows.with_format("arrow").map(
        make,
        batched=True,
        with_indices=True,
        batch_size=_BATCH,
        remove_columns=rows.column_names,
        num_proc=workers if workers > 1 else None,
        new_fingerprint=secrets.token_hex(8),  # else the tokenizer is hashed for it
        desc="Tokenizing train dataset",
    )
    return done.with_format(None)


def _packed(
    done: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
) -> datasets.Dataset:
    trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss=False)
    single = copy.copy(config)
    single.dataset_num_proc = None
    return SFTTrainer._prepare_dataset(trainer, done, tokenizer, single, True, None, "train")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"another run tokenises the same rows; waiting for it ({path})", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def main() -> int:
    """Tokenise for the arguments of sft.py; returns the exit code."""
    end_with_starter()
    try:
        script, config = parse()
        make(script, config)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
