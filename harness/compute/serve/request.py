"""What is asked of a server, and what each engine module has to say about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.compute.serve.ports import Ports
from harness.config.engine_flags.definitions import recorded
from harness.config.engines import ENGINES, EngineKind, flag_word
from harness.config.serve import is_everywhere
from harness.config.server import check_flag_name
from harness.errors import UserError

FlagValue = str | int | float | bool | None


def unchanged(argv: list[str]) -> list[str]:
    """The default `wrap`: run the command in the environment of this process."""
    return argv


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """One inference server: what it serves, how, and where its log goes.

    Raises UserError for a value no engine takes, or for an engine flag serve() sets itself.
    """

    engine: str
    """A row of config/engines.py."""
    model: str
    """Checkpoint folder."""
    served_name: str
    """Name the clients use, e.g. `<run>/checkpoint-500@<fingerprint>`."""
    tensor_parallel: int = 1
    data_parallel: int = 1
    max_model_len: int | None = None
    """Prompt and answer together, in tokens; None is the model's own limit."""
    dtype: str = "bfloat16"
    gpu_memory_utilization: float | None = None
    """Fraction of the GPU's memory, 0 to 1; None is the engine's default."""
    chat_template: str | None = None
    """Path of a jinja file that replaces the checkpoint's own template."""
    reasoning_parser: str | None = None
    lora_adapters: Mapping[str, str] = field(default_factory=dict)
    """LoRA adapters beside the model: the name that clients use -> folder."""
    extra_flags: Mapping[str, FlagValue] = field(default_factory=dict)
    """Any further flag of the engine by its name; None leaves it out, False negates it."""
    host: str = "127.0.0.1"
    preferred_port: int | None = None
    """HTTP port to use when it is free; None is the engine's usual one."""
    ready_timeout_s: float = 1800
    wrap: Callable[[list[str]], list[str]] = unchanged
    """Puts the command into the role's environment: activation, container."""
    log_path: Path
    api_key: str | None = field(default=None, repr=False)
    """None: a random one."""
    probe_body: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the readiness check's chat completion, e.g. the sampling settings."""

    def __post_init__(self) -> None:
        if not self.model or not self.served_name:
            raise UserError("a server needs a model folder and a name to serve it under")
        if self.tensor_parallel < 1 or self.data_parallel < 1:
            raise UserError("tensor_parallel and data_parallel are at least 1")
        share = self.gpu_memory_utilization
        if share is not None and not 0 < share <= 1:
            raise UserError(f"gpu_memory_utilization is a fraction between 0 and 1, not {share}")
        own = ENGINES[self.engine].own_flags if self.engine in ENGINES else {}
        for name in self.extra_flags:
            try:
                check_flag_name(name)
            except ValueError as error:
                raise UserError(f"extra_flags: {name!r}: {error}") from None
            # A preflight check tells this before anything queues, unless it is passed over.
            if flag_word(name).lower() in own:
                raise UserError(f"extra_flags: --{name} is set by the harness itself")

    @property
    def client_host(self) -> str:
        """Address under which this node reaches the server."""
        if is_everywhere(self.host):  # `::` may or may not take IPv4, too: both take ::1
            return "::1" if ":" in self.host else "127.0.0.1"
        return "127.0.0.1" if self.host == "localhost" else self.host


@dataclass(frozen=True)
class Engine:
    """What an engine's module builds; what else differs is its row in config/engines.py."""

    command: Callable[[ServeRequest, Ports], list[str]]
    """Pure: the argument list, before `wrap`."""
    environment: Callable[[ServeRequest, Ports, str], dict[str, str]]
    """Pure: (request, ports, API key) -> variables to add."""
    model_name: Callable[[ServeRequest], str]
    """The `model` of a request to this server."""
    adapter_name: Callable[[ServeRequest, str], str] = lambda request, name: name
    """The `model` of a request that a LoRA adapter of this name is to answer."""


def given(flags: Mapping[str, FlagValue]) -> list[str]:
    """`--name value` for each flag that has a value, in order."""
    return [
        word
        for name, value in flags.items()
        if value is not None
        for word in (f"--{name}", str(value))
    ]


def extra(flags: Mapping[str, FlagValue], kind: EngineKind) -> list[str]:
    """The user's own flags: `--name=value`, `--name` for True, `--no-name` for False.

    `=` keeps a value that begins with a dash from being read as a flag. A switch without a `--no-…`
    is off by default: False leaves it out. A flag that takes several values gets its text's words.
    """
    known, words = recorded(kind.name), list[str]()
    for key, value in flags.items():
        name = flag_word(key)
        flag = known.named(name) if known else None
        if value is None:
            continue
        if not isinstance(value, bool):
            several = str(value).split() if flag and flag.takes == "several" else []
            words += [f"--{name}", *several] if several[1:] else [f"--{name}={value}"]
        elif "." in name:
            words.append(f"--{name}={str(value).lower()}")
        elif value:
            words.append(f"--{name}")
        elif flag.negatable if flag else not kind.drops_false:
            words.append(f"--no-{name}")
    return words
