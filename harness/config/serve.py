"""A server that is started for itself, not for an evaluation: `python -m harness serve`."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

from pydantic import AfterValidator

from harness.config.base import Frozen, Location, TimeLimit, Word
from harness.config.server import ServerSpec
from harness.config.spec import RunName

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is given by; None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from its own node only."""
    address = _address(host)
    if address is None:
        return host.lower().rstrip(".") in _LOOPBACK_NAMES
    inner = getattr(address, "ipv4_mapped", None)
    return (inner or address).is_loopback


def is_everywhere(host: str) -> bool:
    """Whether a server that listens there is reached by every address of its node."""
    address = _address(host)
    return address is not None and address.is_unspecified


def url_host(host: str) -> str:
    """The host as a URL has it: an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _listening(host: str) -> str:
    """An address or a host's name to listen on. Raises ValueError."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _address(bare) is not None:
        return bare
    # What is all digits and dots would be read as an address, and as another one than is written.
    if not _HOST_NAME.fullmatch(bare) or re.fullmatch(r"[0-9.]+", bare):
        raise ValueError("an address (127.0.0.1, ::1) or the name of a host is expected")
    return bare


Host = Annotated[str, AfterValidator(_listening)]


class ServeSpec(Frozen):
    """What `serve` starts; spec.yaml of its run folder."""

    name: RunName
    """Name of the run."""
    model: Location
    """The model's folder, absolute."""
    served_name: Word
    """Name by which clients ask for the model."""
    server: ServerSpec = ServerSpec()
    chat_template: Location | None = None
    """A jinja file in place of the model's own template, absolute."""
    lora_adapters: dict[str, Location] = {}
    """LoRA adapters served beside the model: name -> folder (absolute)."""
    key_file: Location | None = None
    """File of mode 600, outside the run folder, that holds the server's key; every node must see
    it. None: the engine has no key."""
    host: Host | None = None
    """Address to listen on. Unset: loopback when the job runs on the submitting host, else the
    address by which the compute node reaches that host."""
    time_limit: TimeLimit | None = None
    """Slurm time; overrides the site's."""
