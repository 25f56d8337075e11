"""`python -m sglang.launch_server`. Every flag here is checked against the real wheel's (0.5.23).

SGLang takes its key only as an argument or in a YAML file named by --config. The process list is
open to everyone, so the key goes into a file of mode 600 beside the log, removed once the server
is ready. It also logs all its settings, key included: supervisor.py blanks the key in the log.
"""

from __future__ import annotations

from pathlib import Path

from harness.compute.serve.ports import Ports
from harness.compute.serve.request import Engine, ServeRequest, extra, given


def command(request: ServeRequest, ports: Ports) -> list[str]:
    """The argument list; the key is in the file that --config names."""
    several = {
        "tp-size": request.tensor_parallel if request.tensor_parallel > 1 else None,
        "dp-size": request.data_parallel if request.data_parallel > 1 else None,
        # With replicas, each would take this very port and the second would fail
        # (data_parallel_controller.launch_dp_schedulers): SGLang then looks for its own,
        # below the ephemeral range, and holds them while it looks.
        "nccl-port": ports.torch if request.data_parallel == 1 else None,
    }
    optional = {
        "context-length": request.max_model_len,
        "mem-fraction-static": request.gpu_memory_utilization,
        "chat-template": request.chat_template,
        "reasoning-parser": request.reasoning_parser,
    }
    return [
        *("python", "-m", "sglang.launch_server"),
        *("--config", str(key_file(request))),
        *("--model-path", request.model, "--served-model-name", request.served_name),
        *("--host", request.host, "--port", str(ports.http)),
        *("--dtype", request.dtype),
        *given(several),
        *given(optional),
        *extra(request.extra_flags, negate=False),
    ]


def environment(request: ServeRequest, ports: Ports, api_key: str) -> dict[str, str]:
    """First internal port; the key travels by `key_file`."""
    return {"SGLANG_PORT": str(ports.internal)}


def key_file(request: ServeRequest) -> Path:
    """The --config file; SGLang wants the suffix .yaml."""
    return request.log_path.absolute().with_name(f"{request.log_path.name}.key.yaml")


ENGINE = Engine(
    name="sglang",
    default_port=8000,
    command=command,
    environment=environment,
    model_name=lambda request: request.served_name,
    checks_key=True,
    lists_model=True,
    key_file=key_file,
)
