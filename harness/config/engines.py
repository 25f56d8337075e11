"""The inference engines: one row each, which everything reads that asks what an engine is or needs.

A new engine is a row here and a file of its name in `compute/serve/`, whose `ENGINE` builds its
command. Its flags are checked before anything queues once `engine_flags/` holds what they are
(`engine_flags/describe.py` writes that file).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EngineKind:
    """One inference engine."""

    name: str
    tensor_parallel: int
    """GPUs for one copy of the model, where the spec says nothing."""
    data_parallel: int
    """Copies of the model, where the spec says nothing."""
    max_model_len: int | None
    """Tokens of prompt and answer, where the spec says nothing; None: it has no such setting."""
    port: int
    """HTTP port that is taken when it is free and the spec names none."""
    package: str
    """Distribution that tells its version."""
    extra: str = ""
    """Extra of pyproject.toml that installs it, where that is not the engine's name."""
    version_path: str = ""
    """Where the running server tells its version, beside /v1; empty: nowhere."""
    checks_key: bool = True
    """Whether it refuses requests without its key. Where not, it stays on the loopback address."""
    lists_model: bool = True
    """Whether /v1/models names what is served. Where not, a request for another model must be
    refused with a message that names the folder (see compute/serve/proof.py)."""
    refuses_other_names: bool = False
    """Whether a request for a model that it does not list gets 404. SGLang answers any name."""
    info_paths: tuple[str, ...] = ()
    """Where it tells the folder that it loaded, as `model_path`; the first that is there."""
    lists_folders: bool = False
    """Whether /v1/models tells the folder of each model, as `root`."""
    lacks: tuple[str, ...] = ()
    """Fields of `server` that it has no setting for: one that is set is refused, not lost."""
    on_cpu: bool = False
    """Serves where there is no GPU, and shares no model among several."""
    serves_adapters: bool = True
    """Serves LoRA adapters beside the model."""
    bounds_context: bool = True
    """Refuses a request that would not fit the context; else it goes on beyond the limit."""
    samples_by_config: bool = False
    """Samples only where the request's own generation_config says so, whatever its temperature."""
    ns_server_type: str = ""
    """What `ns eval --server_type` calls it; empty: it refuses the fields that ns sends (min_p,
    repetition_penalty, spaces_between_special_tokens), and ns would wait for it for ever."""
    seed_flags: tuple[str, ...] = ()
    """It reads a request's seed only under one of these flags; empty: it always does."""
    seeds_alone: bool = False
    """A seed is set for all requests at once: it counts only while no other is under way."""
    own_flags: Mapping[str, str] = field(default_factory=dict)
    """Flags that the harness sets itself, by every name: what to set instead, a field of `server`
    or an option; empty: nothing, it is the harness's own business."""
    flags_from: tuple[str, ...] = ()
    """`module:attribute` in the engine's Python from which its parser is had (see
    engine_flags/describe.py); of several the first that is there."""
    drops_false: bool = False
    """Its switches are off by default and have no `--no-…`: a false one is left out."""


_INSTEAD = {
    "model": "the model is MODEL, train.model_name or judge.serve.model",
    "chat_template": "give --chat-template, or train.chat_template_path",
    "lora": "give `serve --lora NAME=FOLDER`, which sets it",
    "token": "export HF_TOKEN in the shell that submits: a secret stands in no argument",
}


def _own(nobodys: str, **instead: str) -> dict[str, str]:
    """Flags that the harness sets: those that are nobody else's, and by field those that have one."""
    found = dict.fromkeys(nobodys.split(), "")
    for name, flags in instead.items():
        found |= dict.fromkeys(flags.split(), _INSTEAD.get(name, f"set `server.{name}` instead"))
    return found


ENGINES: dict[str, EngineKind] = {
    kind.name: kind
    for kind in (
        EngineKind(
            name="vllm",
            tensor_parallel=8,
            data_parallel=1,
            max_model_len=32768,
            port=12738,
            package="vllm",
            version_path="/version",  # vLLM 0.32
            ns_server_type="vllm",
            refuses_other_names=True,
            lists_folders=True,
            own_flags=_own(
                "served-model-name host uds api-key config",
                model="model",
                port="port",
                tensor_parallel="tensor-parallel-size tp",
                data_parallel="data-parallel-size dp",
                max_model_len="max-model-len",
                dtype="dtype",
                gpu_memory_utilization="gpu-memory-utilization",
                reasoning_parser="reasoning-parser",
                chat_template="chat-template",
                lora="enable-lora lora-modules max-lora-rank",
                token="hf-token",
            ),
            flags_from=(
                "vllm.entrypoints.launchers.cli_args:make_arg_parser",  # 0.32
                "vllm.entrypoints.openai.cli_args:make_arg_parser",
            ),
        ),
        EngineKind(
            name="sglang",
            tensor_parallel=1,
            data_parallel=4,
            max_model_len=32768,
            port=8000,
            package="sglang",
            version_path="/get_server_info",  # SGLang 0.5
            info_paths=("/model_info", "/get_model_info"),  # 0.5.23, and before
            # sampling/sampling_batch_info.py; layers/sampler.py: the second implies the first.
            seed_flags=("enable-deterministic-inference", "rl-on-policy-target"),
            ns_server_type="sglang",
            own_flags=_own(
                "served-model-name host nccl-port api-key admin-api-key config",
                model="model model-path",
                port="port",
                tensor_parallel="tp-size tensor-parallel-size",
                data_parallel="dp-size data-parallel-size",
                max_model_len="context-length",
                dtype="dtype",
                gpu_memory_utilization="mem-fraction-static",
                reasoning_parser="reasoning-parser",
                chat_template="chat-template",
                lora="enable-lora lora-paths",
            ),
            flags_from=("sglang.srt.server_args:ServerArgs.add_cli_args",),
            drops_false=True,
        ),
        EngineKind(
            name="transformers",
            tensor_parallel=1,
            data_parallel=1,
            max_model_len=None,
            port=8000,
            package="transformers",
            extra="serve",
            checks_key=False,
            lists_model=False,
            lacks=(
                "max_model_len",
                "tensor_parallel",
                "data_parallel",
                "gpu_memory_utilization",
                "reasoning_parser",
            ),
            on_cpu=True,
            serves_adapters=False,
            bounds_context=False,
            samples_by_config=True,
            seeds_alone=True,  # torch.manual_seed on arrival, before the request's turn (5.23)
            own_flags=_own("host", model="force-model", port="port", dtype="dtype"),
            flags_from=("transformers.cli.transformers:app",),
        ),
    )
}

DEFAULT = "vllm"
CPU_ENGINE = next(name for name, kind in ENGINES.items() if kind.on_cpu)
"""What is taken where nobody chose and there is no GPU."""


def flag_word(name: str) -> str:
    """A flag's name as engines write it: dashes for underscores, but not in `config.some_key`."""
    flag, dot, key = name.partition(".")
    return flag.replace("_", "-") + dot + key


def shown_names() -> str:
    """For a help text: `vllm (default), sglang, transformers`."""
    return ", ".join(f"{name} (default)" if name == DEFAULT else name for name in ENGINES)


def shown_defaults(field: str, usual: int) -> str:
    """For a help text: `vllm 8, else 1`."""
    others = [f"{k.name} {n}" for k in ENGINES.values() if (n := getattr(k, field)) != usual]
    return ", ".join([*others, f"else {usual}"])
