"""The engine of a request, its command and its environment."""

from __future__ import annotations

from importlib import import_module

from harness.compute.serve.ports import Ports
from harness.compute.serve.request import Engine, ServeRequest
from harness.config.engines import ENGINES
from harness.errors import UserError

# Left by a launcher of the job (torchrun, accelerate); a server that saw them would join its group.
FOREIGN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")


def engine_of(request: ServeRequest) -> Engine:
    """The request's engine. Raises UserError when there is none of that name."""
    if request.engine not in ENGINES:
        raise UserError(f"no engine {request.engine!r}; there are {', '.join(ENGINES)}")
    module = import_module(f"{__package__}.{request.engine.replace('-', '_')}")
    engine: Engine = module.ENGINE
    return engine


def command(request: ServeRequest, port: Ports | int) -> list[str]:
    """The server's argument list, before `request.wrap`; an int is the base of a block."""
    ports = Ports.of_block(port) if isinstance(port, int) else port
    return engine_of(request).command(request, ports)


def environment(request: ServeRequest, ports: Ports, api_key: str) -> dict[str, str]:
    """Variables to add to the server's environment, its key among them where it has one."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(ports.torch),
        "HF_HUB_OFFLINE": "1",  # the model is a folder; a compute node may have no network
        "PYTHONUNBUFFERED": "1",  # else the last lines before a crash are lost
        **engine_of(request).environment(request, ports, api_key),
    }
