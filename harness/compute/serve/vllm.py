"""`vllm serve`. Flags and variables as of 0.32; tests/slow runs the real one on CPU.

The key (VLLM_API_KEY) guards the paths below /v1, /v2, /inference and /cohere. Others, such as
/health, /metrics and /tokenize, stay open: keep the server on the loopback address.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.compute.serve.ports import Ports
from harness.compute.serve.request import Engine, ServeRequest, extra, given
from harness.config.engines import ENGINES
from harness.errors import UserError
from harness.runs.files import read_json

MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""vLLM 0.32, config/lora.py MaxLoRARanks."""


def command(request: ServeRequest, ports: Ports) -> list[str]:
    """The argument list; the key is not in it."""
    several = {
        "tensor-parallel-size": request.tensor_parallel if request.tensor_parallel > 1 else None,
        "data-parallel-size": request.data_parallel if request.data_parallel > 1 else None,
    }
    optional = {
        "max-model-len": request.max_model_len,
        "gpu-memory-utilization": request.gpu_memory_utilization,
        "chat-template": request.chat_template,
        "reasoning-parser": request.reasoning_parser,
    }
    return [
        *("vllm", "serve", request.model),
        *("--served-model-name", request.served_name),
        *("--host", request.host, "--port", str(ports.http)),
        *("--dtype", request.dtype),
        *given(several),
        *given(optional),
        *_lora(request),
        *extra(request.extra_flags, ENGINES["vllm"]),
    ]


def _lora(request: ServeRequest) -> list[str]:
    """Adapters as JSON, in which a path may hold anything; room for the largest rank among them."""
    if not request.lora_adapters:
        return []
    modules = [json.dumps({"name": name, "path": folder})
               for name, folder in request.lora_adapters.items()]  # fmt: skip
    largest = max(adapter_rank(Path(folder)) for folder in request.lora_adapters.values())
    room = next((rank for rank in MAX_LORA_RANKS if rank >= largest), None)
    if room is None:
        raise UserError(f"vLLM takes LoRA ranks up to {MAX_LORA_RANKS[-1]}, not {largest}")
    return ["--enable-lora", "--max-lora-rank", str(room), "--lora-modules", *modules]


def adapter_rank(folder: Path) -> int:
    """The rank in an adapter's adapter_config.json. Raises UserError when it says none."""
    file = folder / "adapter_config.json"
    rank = read_json(file).get("r") if file.is_file() else None
    if not isinstance(rank, int):
        raise UserError.at(folder, "not a LoRA adapter (adapter_config.json with `r` is expected)")
    return rank


def environment(request: ServeRequest, ports: Ports, api_key: str) -> dict[str, str]:
    """Key, first internal port (vLLM counts upwards from it), no telemetry."""
    return {
        "VLLM_API_KEY": api_key,
        "VLLM_PORT": str(ports.internal),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


ENGINE = Engine(
    command=command,
    environment=environment,
    model_name=lambda request: request.served_name,
)
