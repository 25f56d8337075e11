"""The inference engines: one row each, which everything reads that asks what an engine is or needs.

A new engine is a row here and a file of its name in `compute/serve/`, whose `ENGINE` builds its
command.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    refused with a message that names the folder (see compute/serve/ready.py)."""
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
        ),
        EngineKind(
            name="sglang",
            tensor_parallel=1,
            data_parallel=4,
            max_model_len=32768,
            port=8000,
            package="sglang",
            version_path="/get_server_info",  # SGLang 0.5
            ns_server_type="sglang",
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
            on_cpu=True,
            serves_adapters=False,
            bounds_context=False,
            samples_by_config=True,
        ),
    )
}

DEFAULT = "vllm"
CPU_ENGINE = next(name for name, kind in ENGINES.items() if kind.on_cpu)
"""What is taken where nobody chose and there is no GPU."""


def shown_names() -> str:
    """For a help text: `vllm (default), sglang, transformers`."""
    return ", ".join(f"{name} (default)" if name == DEFAULT else name for name in ENGINES)


def shown_defaults(field: str, usual: int) -> str:
    """For a help text: `vllm 8, else 1`."""
    others = [f"{k.name} {n}" for k in ENGINES.values() if (n := getattr(k, field)) != usual]
    return ", ".join([*others, f"else {usual}"])
