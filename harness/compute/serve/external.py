"""A server that somebody else runs: nothing to start, nothing to stop, only to ask."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from harness.compute.serve import foreign_adapter
from harness.config.evaluate import ExternalServer
from harness.errors import ServerError
from harness.processes.proxies import proxy_for

_ASK_S = 10.0


@dataclass
class ForeignServer:
    """What evaluators use of a `RunningServer`, for one that is not ours."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    log_path: Path = Path("/dev/null")
    proxied = True
    """Requests go to it as the environment's proxies say; those to a server of ours never do."""

    def take_start_seconds(self) -> float:
        """Nothing was started."""
        return 0.0

    def raise_if_dead(self) -> None:
        """Its process cannot be seen from here: requests tell."""

    def raise_if_sick(self) -> None:
        """Raise ServerError when it does not list its models."""
        check_address(self.base_url, self.api_key, self.model)


def external_server(spec: ExternalServer) -> ForeignServer:
    """The server that a spec names, proved to answer and to have the model. Raises ServerError."""
    key = os.environ.get(spec.api_key_env, "") if spec.api_key_env else "none"
    if not key:
        raise ServerError(f"${spec.api_key_env} is not set here, and the server's key is in it")
    entries = check_address(spec.address, key, spec.model)
    asked_as, base = foreign_adapter.asked_as(spec.model, entries)
    if base:
        foreign_adapter.prove(spec.address, key, asked_as, base)
    return ForeignServer(spec.address, key, asked_as)


def check_address(address: str, key: str, model: str) -> dict[str, dict[str, Any]]:
    """What `/models` there says of each model. Raises ServerError unless it lists this one."""
    url = f"{address}/models"
    try:
        with httpx.Client(
            headers={"Authorization": f"Bearer {key}"}, timeout=_ASK_S, proxy=proxy_for(url),
            trust_env=False, verify=httpx.create_ssl_context(),
        ) as client:  # fmt: skip
            answer = client.get(url)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        why = "it refuses the key" if code in (401, 403) else f"it answers {code}"
        raise ServerError(f"{url}: {why}") from None
    except UnicodeEncodeError:
        raise ServerError(f"{url}: the key has characters that no header takes") from None
    # InvalidURL is no HTTPError.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ServerError(f"{url}: {error or type(error).__name__}") from None
    try:
        known = {str(entry["id"]): dict(entry) for entry in answer.json()["data"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ServerError(
            f"{url}: its answer is no list of models: {' '.join(answer.text.split())[:200]}"
        ) from None
    if not foreign_adapter.is_listed(model, known):
        raise ServerError(f"{address} does not serve {model!r}; it serves {', '.join(known)}")
    return known
