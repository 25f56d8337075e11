"""`transformers serve`: the embedded server where there is no GPU, or no vLLM.

Facts of 5.23, read in its source and tried:
- It knows no API key. It is bound to the loopback address only, and every user of the node can
  reach it there: RunningServer.authenticated is False.
- The folder given on the command line is loaded before the port opens, and is the only model: a
  request for any other is refused with 400 "Server is pinned to '<folder>'", which proves what is
  served. /v1/models lists the Hugging Face cache, never this folder (500 where there is no cache).
- It has no flag for context length, reasoning parser or parallelism: asking for one is a
  UserError, not a setting lost on the way.
- Requests are answered one after another. --continuous-batching batches them (on CPU too), but
  then the sampling settings of the *first* request hold for all that follow, and the first is our
  readiness check: `ServeRequest.probe_body` has to carry them. On CPU its cache takes 90 % of the
  machine's memory, whatever the job was given, unless it is capped: uncapped is a UserError.
- `temperature` above 0 samples only if the checkpoint's generation_config.json has do_sample true;
  otherwise decoding is greedy (tried at 1.5). The request field `generation_config`, JSON text with
  do_sample, does sample, without --continuous-batching. Fields it does not know (top_k, min_p) are refused with 422; `n` and
  `logprobs` are ignored.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.compute.serve.ports import Ports
from harness.compute.serve.request import Engine, ServeRequest, extra
from harness.config.engines import ENGINES, flag_word
from harness.config.serve import is_loopback
from harness.errors import UserError

TEMPLATE_FLAG = "chat-template-kwargs"


def command(request: ServeRequest, ports: Ports) -> list[str]:
    """The argument list. Reads the chat template's file, whose text is the argument.

    Raises UserError for a setting that `transformers serve` does not have.
    """
    refuse_unsupported(request)
    words = [
        *("transformers", "serve", request.model),
        *("--host", request.host, "--port", str(ports.http)),
        *("--dtype", request.dtype),
    ]
    flags = {flag_word(name): value for name, value in request.extra_flags.items()}
    if request.chat_template is not None:
        # Passed on to apply_chat_template, whose argument of this name replaces the template.
        template = Path(request.chat_template).read_text(encoding="utf-8")
        words += [f"--{TEMPLATE_FLAG}", _with_template(flags.pop(TEMPLATE_FLAG, "{}"), template)]
    return [*words, *extra(flags, ENGINES["transformers"])]


def _with_template(given: object, template: str) -> str:
    """The user's own arguments of the template, and the template. Raises UserError."""
    try:
        return json.dumps({**json.loads(str(given)), "chat_template": template})
    except (ValueError, TypeError):
        raise UserError(f"--{TEMPLATE_FLAG} takes a JSON object, not {given!r}") from None


def refuse_unsupported(request: ServeRequest) -> None:
    """Raise UserError for what this engine would silently not do."""
    lacks = (*ENGINES["transformers"].lacks, "lora_adapters")
    wrong = [name for name in lacks if getattr(request, name) not in (None, 1, {})]
    if wrong:
        raise UserError(f"engine transformers has no setting {', '.join(wrong)}: leave it out")
    flags = {flag_word(name): value for name, value in request.extra_flags.items()}
    capped = flags.keys() & {"cb-num-blocks", "cb-max-memory-percent"}
    if flags.get("continuous-batching") and flags.get("device") == "cpu" and not capped:
        raise UserError(
            "engine transformers: continuous_batching on CPU takes 90 % of the machine's memory: "
            "cap it with cb_num_blocks (of 256 tokens), e.g. 64, and cb_max_batch_tokens, e.g. 1024"
        )
    if not is_loopback(request.host):
        raise UserError(f"engine transformers checks no key: host {request.host} would be open")
    if "@" in request.model or request.model.endswith(".gguf"):
        raise UserError(
            f"engine transformers reads '@' as a revision and '.gguf' as a file: {request.model}"
        )


def environment(request: ServeRequest, ports: Ports, api_key: str) -> dict[str, str]:
    """Nothing of its own: the engine has neither a key nor internal ports."""
    return {}


ENGINE = Engine(
    command=command,
    environment=environment,
    model_name=lambda request: request.model,
)
