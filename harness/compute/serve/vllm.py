"""`vllm serve`. Flags and variables as of 0.32; tests/slow runs the real one on CPU.

The key (VLLM_API_KEY) guards the paths below /v1, /v2, /inference and /cohere. Others, such as
/health, /metrics and /tokenize, stay open: keep the server on the loopback address.
"""

from __future__ import annotations

from harness.compute.serve.ports import Ports
from harness.compute.serve.request import Engine, ServeRequest, extra, given


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
        *extra(request.extra_flags, negate=True),
    ]


def environment(request: ServeRequest, ports: Ports, api_key: str) -> dict[str, str]:
    """Key, first internal port (vLLM counts upwards from it), no telemetry."""
    return {
        "VLLM_API_KEY": api_key,
        "VLLM_PORT": str(ports.internal),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


ENGINE = Engine(
    name="vllm",
    default_port=12738,
    command=command,
    environment=environment,
    model_name=lambda request: request.served_name,
    checks_key=True,
    lists_model=True,
)
