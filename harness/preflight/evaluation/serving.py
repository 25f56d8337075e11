"""Would the server take this model: parallel sizes, context, GPUs, and whole files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks.prepare import is_prepared, open_items
from harness.benchmarks.registry import parse
from harness.config.engines import CPU_ENGINE, ENGINES
from harness.config.evaluation import EvaluationSpec
from harness.config.serve import ServeSpec, is_loopback
from harness.config.server import ServerSpec
from harness.config.site import Site
from harness.errors import HarnessError
from harness.preflight.evaluation.flags import check_flags, check_settings
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.rows.template import check_own_template, check_template
from harness.runs.checkpoints import ADAPTER_CONFIG, complete_checkpoints, read_marker
from harness.runs.models.adapters import changes_nothing
from harness.runs.models.folder import (
    attention_heads,
    broken_weights,
    has_tokenizer,
    model_limit,
    text_config,
)
from harness.runs.paths import BASE, MANIFEST, checkpoint_step, step_of_name

_VOCAB_PADDING = 64
"""vLLM 0.32, vocab_parallel_embedding.py; every default size divides it."""
_CHARACTERS_PER_TOKEN = 3.0
"""Fewer than any of our benchmarks has on average, so that the estimate errs on the long side."""


def check_serving(
    evaluation: EvaluationSpec, site: Site, scheduler: str, model: Path | None
) -> list[Finding]:
    """Findings about `evaluation.server`; `model` is the folder that training starts from, whose
    sizes its checkpoints will have (None: not on this machine)."""
    server, place = evaluation.server, "evaluation.server"
    findings = check_gpus(server, scheduler, place)
    findings += check_settings(server, place) + check_flags(server, site, f"{place}.flags.")
    findings += _check_programs(evaluation)
    limit = None
    if model is not None and (model / "config.json").is_file():
        findings += check_sizes(model, server, place)
        limit = _limit(model)
    return findings + _check_room(evaluation, site, server.context(limit) or limit)


def check_serve(spec: ServeSpec, scheduler: str, site: Site | None = None) -> list[Finding]:
    """Findings about a server of its own (`serve`)."""
    folder = Path(spec.model)
    findings = check_served_folder(folder, "MODEL")
    if (folder / "config.json").is_file():
        findings += check_sizes(folder, spec.server, "server")
    findings += check_gpus(spec.server, scheduler, "server")
    findings += check_settings(spec.server, "server")
    findings += check_flags(spec.server, site or Site(), "--flag ")
    if spec.chat_template:
        found = check_template(spec.chat_template, False)
        findings += [f.model_copy(update={"place": "--chat-template"}) for f in found]
    elif not any(f.level == "error" for f in findings):
        findings += check_own_template(folder)
    for name, adapter in spec.lora_adapters.items():
        findings += _check_adapter(name, Path(adapter), f"--lora {name}")
    engine = spec.server.kind
    if not engine.checks_key and spec.host and not is_loopback(spec.host):
        others = " or ".join(kind.name for kind in ENGINES.values() if kind.checks_key)
        findings.append(
            error(
                "--host",
                f"engine {engine.name} checks no key: it stays on loopback",
                f"Leave --host out, and reach it through ssh -L, or take {others}",
            )
        )
    if spec.lora_adapters and not engine.serves_adapters:
        findings.append(error("--lora", f"engine {engine.name} serves no adapters"))
    return findings


def _check_adapter(name: str, folder: Path, place: str) -> list[Finding]:
    if not re.fullmatch(r"[^\s:=/]+", name):
        return [error(place, "a name without blanks, colons and slashes is expected")]
    if not (folder / ADAPTER_CONFIG).is_file():
        return [error(place, f"{folder}: not a LoRA adapter (no {ADAPTER_CONFIG})")]
    if not any(folder.glob("adapter_model.*")):
        return [error(place, f"{folder}: no weights (adapter_model.safetensors) in it")]
    try:
        zero = changes_nothing(folder)
    except HarnessError as problem:
        return [error(place, str(problem), "It may be half written, or half copied")]
    text = f"{folder}: is zero, as before its first step: it changes nothing"
    return [warning(place, text)] if zero else []


def check_served_folder(folder: Path, place: str) -> list[Finding]:
    """Findings about a model's folder that is served as it is."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            return [error(place, f"{folder}: is a LoRA adapter, not a whole model",
                          f"Serve its base model with --lora NAME={folder}")]  # fmt: skip
        return [error(place, f"{folder}: no config.json in it", "Give a model's own folder")]
    findings = [error(place, f"{folder}: {text}", "It may be half written, or half copied")
                for text in broken_weights(folder)]  # fmt: skip
    if not has_tokenizer(folder):
        findings.append(error(place, f"{folder}: no tokenizer (tokenizer.json) in it"))
    return findings + _check_marker(folder, place)


def _check_marker(folder: Path, place: str) -> list[Finding]:
    """A checkpoint of a run of ours counts only with its marker."""
    if folder.name == BASE or step_of_name(folder.name) is None:
        return []
    foreign = note(place, f"{folder}: not of a run of ours: whether it is whole is not marked")
    if checkpoint_step(folder.name) is None:
        return [foreign]
    try:
        if read_marker(folder) is not None:
            return []
        beside = complete_checkpoints(folder.parent)
    except HarnessError as problem:
        return [error(place, str(problem))]
    if not beside and not (folder.parents[1] / MANIFEST).is_file():
        return [foreign]
    whole = ", ".join(path.name for path in beside.values())
    return [error(place, f"{folder}: is not marked complete: training was stopped while writing it",
                  f"Whole checkpoints beside it: {whole or 'none'}")]  # fmt: skip


def check_gpus(server: ServerSpec, scheduler: str, place: str) -> list[Finding]:
    """Findings about the number of GPUs."""
    wanted = server.tensor_parallel_size * server.data_parallel_size
    if server.kind.on_cpu:
        return []
    if server.gpus and server.gpus < wanted:
        return [error(f"{place}.gpus",
                      f"{server.gpus} for tensor_parallel {server.tensor_parallel_size} x "
                      f"data_parallel {server.data_parallel_size} = {wanted}",
                      "Leave gpus out, or set smaller parallel sizes")]  # fmt: skip
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if scheduler == "local" and there < server.gpu_count and not Path("/dev/kfd").exists():
        return [error(place, f"{server.engine} is to use {server.gpu_count} GPUs, and this machine "
                      f"has {there}", f"On CPU: engine: {CPU_ENGINE} with gpus: 0")]  # fmt: skip
    return []


def check_sizes(folder: Path, server: ServerSpec, place: str) -> list[Finding]:
    """Findings about parallel sizes and context of a model with a config.json."""
    try:
        config = text_config(folder)
    except HarnessError as problem:
        return [error(place, str(problem))]
    findings = []
    size = server.tensor_parallel_size
    if reason := _indivisible(config, size):
        fitting = ", ".join(str(n) for n in range(1, 17) if not _indivisible(config, n))
        findings.append(error(f"{place}.tensor_parallel", f"{size} GPUs cannot share {folder}: "
                              f"{reason}", f"Possible: {fitting}"))  # fmt: skip
    limit, asked = _limit(folder), server.max_model_len
    if limit and asked and asked > limit:
        findings.append(error(f"{place}.max_model_len", f"{asked} is more than the {limit} tokens "
                              f"that {folder} can take", "Leave it out, or lower it"))  # fmt: skip
    return findings


def _limit(folder: Path) -> int | None:
    try:
        return model_limit(folder)
    except HarnessError:
        return None  # check_sizes says so


def _indivisible(config: dict[str, object], size: int) -> str:
    """Why `size` GPUs cannot share a model; empty when they can.

    vLLM 0.32: config/model.py verify_with_parallel_config for attention heads, models/llama.py
    and qwen3.py for key-value heads (SGLang's have the same lines), layers/linear.py for the rest.
    """
    heads, kv = attention_heads(config)
    if heads and heads % size:
        return f"{heads} attention heads are not divisible by {size}"
    if kv and (kv % size if kv >= size else size % kv):
        return f"{kv} key-value heads and {size} do not divide each other"
    inner, vocab = config.get("intermediate_size"), config.get("vocab_size")
    if isinstance(inner, int) and inner % size:
        return f"intermediate_size {inner} is not divisible by {size}"
    if isinstance(vocab, int) and -(-vocab // _VOCAB_PADDING) * _VOCAB_PADDING % size:
        return f"the vocabulary of {vocab}, padded to {_VOCAB_PADDING}, is not divisible by {size}"
    return ""


def _check_programs(evaluation: EvaluationSpec) -> list[Finding]:
    """Other programs that cannot ask the engine."""
    engine = evaluation.server.kind
    runs = [parse(word, "evaluation.benchmarks").benchmark for word in evaluation.benchmarks]
    asked = [run.name for run in runs if run.backend == "nemo-skills"]
    if not asked or engine.ns_server_type:
        return []
    others = " or ".join(name for name, kind in ENGINES.items() if kind.ns_server_type)
    text = f"{', '.join(asked)}: {engine.name} refuses fields that `ns` sends with each request"
    return [error("evaluation.server.engine", text, f"engine: {others}")]


def _check_room(evaluation: EvaluationSpec, site: Site, context: int | None) -> list[Finding]:
    """Is there room for the prompts beside the answers; only a tokenizer could tell exactly."""
    answer, place = evaluation.answer_tokens, "evaluation.sampling.max_tokens"
    if context is None or answer is None:
        return []
    if answer >= context:
        text = f"{answer} tokens leave no room for a prompt in a context of {context}"
        if not evaluation.server.kind.bounds_context:
            return [warning(place, text)]
        return [error(place, text, "Lower it, or raise evaluation.server.max_model_len")]
    needs = [_longest(Path(site.benchmarks_dir), word) for word in evaluation.benchmarks]
    worst = max(needs, key=lambda need: need.tokens(answer), default=None)
    if worst is None or worst.tokens(answer) <= context:
        return []
    answers = f"{worst.turns} x {answer}" if worst.turns > 1 else f"{answer}"
    prompts = "prompts" if worst.turns > 1 else "prompt"
    return [warning(place, f"{answers} tokens and the longest {prompts} of {worst.name} "
                    f"({worst.characters} characters, perhaps {worst.prompt_tokens} tokens) may not "
                    f"fit the context of {context}: such an answer gets the room that is left",
                    "Lower it, or raise evaluation.server.max_model_len")]  # fmt: skip


@dataclass(frozen=True)
class _Need:
    """What the longest conversation of a benchmark needs: every answer stays in context."""

    name: str
    characters: int = 0
    """Of all its prompts."""
    turns: int = 1

    @property
    def prompt_tokens(self) -> int:
        return int(self.characters / _CHARACTERS_PER_TOKEN)

    def tokens(self, answer: int) -> int:
        return self.prompt_tokens + self.turns * answer


def _longest(folder: Path, word: str) -> _Need:
    """The conversation with the most turns, the longest of those, of a prepared benchmark."""
    benchmark = parse(word, "evaluation.benchmarks").benchmark
    name = benchmark.name
    if benchmark.backend != "builtin" or not is_prepared(folder, name):
        return _Need(name, turns=0)  # another program's prompts are not known here
    turns = (benchmark.turns(item) for item in open_items(folder, name))
    most, longest = max(((len(each), sum(map(len, each))) for each in turns), default=(1, 0))
    return _Need(name, longest, most)
