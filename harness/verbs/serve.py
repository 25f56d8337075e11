"""A model served for itself: serve."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harness.config.engines import CPU_ENGINE, shown_defaults, shown_names
from harness.errors import SchedulerError, UserError
from harness.verbs.common import approve, load_site, local_model, say
from harness.verbs.options import AsJson, SetSite, SiteFile, numeric
from harness.verbs.screen import print_server

if TYPE_CHECKING:
    from harness.config.serve import ServeSpec
    from harness.config.site import Site
    from harness.preflight.findings import Finding
    from harness.runs.paths import RunPaths
    from harness.scheduling.stage import SchedulerName, Staged

Text = str | None
Number = int | None


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or an id in the Hub's cache.")],
    engine: Annotated[Text, typer.Option("--engine", help=f"{shown_names()}.")] = None,
    tensor_parallel: Annotated[Number, typer.Option("--tensor-parallel", parser=numeric(int, 1), metavar="N", help=f"Default: {shown_defaults('tensor_parallel', 1)}.")] = None,
    data_parallel: Annotated[Number, typer.Option("--data-parallel", parser=numeric(int, 1), metavar="N", help=f"Default: {shown_defaults('data_parallel', 1)}.")] = None,
    gpus: Annotated[Number, typer.Option("--gpus", parser=numeric(int, 0), metavar="N", help="Default: the product of the two.")] = None,
    max_model_len: Annotated[Number, typer.Option("--max-model-len", parser=numeric(int, 16), metavar="N", help="Default 32768, or the model's limit.")] = None,
    port: Annotated[Number, typer.Option("--port", parser=numeric(int, 1024), metavar="N", help="Preferred port; taken when free.")] = None,
    host: Annotated[Text, typer.Option("--host", help="Address to listen on.")] = None,
    dtype: Annotated[Text, typer.Option("--dtype", help="Default bfloat16.")] = None,
    chat_template: Annotated[Path | None, typer.Option("--chat-template", metavar="FILE", help="A jinja file.")] = None,
    lora: Annotated[list[str] | None, typer.Option("--lora", metavar="NAME=FOLDER", help="A LoRA adapter beside the model.")] = None,
    flag: Annotated[list[str] | None, typer.Option("--flag", metavar="NAME[=VALUE]", help="Any further flag of the engine.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of `server`, e.g. reasoning_parser=qwen3.")] = None,
    time: Annotated[Text, typer.Option("--time", help="Slurm time limit.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Here, without Slurm.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running once it is ready.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the script; touch nothing.")] = False,
    no_check: Annotated[bool, typer.Option("--no-check", help="Start in spite of errors found.")] = False,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Serve a model as a job until ctrl-C, `cancel` or its time limit.

    Prints the URL, the file that holds the key (mode 600) and a curl line once the server is ready.

    Examples: python -m harness serve runs/qwen3/latest/checkpoints/checkpoint-500 --time 2:00:00
              python -m harness serve MODEL --engine transformers --local
    """
    from harness.scheduling.stage import choose_scheduler

    resolved = load_site(site, site_overrides, local=local)
    scheduler = choose_scheduler(resolved)
    given = {
        "engine": engine, "tensor_parallel": tensor_parallel, "data_parallel": data_parallel,
        "gpus": gpus, "max_model_len": max_model_len, "port": port, "dtype": dtype,
    }  # fmt: skip
    server: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    server["flags"] = _pairs(flag or [], "--flag", bare=True)
    _choose_engine(server, scheduler)
    rest = {"host": host, "time_limit": time, "chat_template": chat_template}
    spec = _spec(model, server, rest, _pairs(lora or [], "--lora"), overrides or [])
    staged, findings = _stage(spec, resolved, scheduler)
    approve(staged, findings, dry_run, as_json, no_check)
    _run(staged, detach, as_json)


def _pairs(words: list[str], option: str, *, bare: bool = False) -> dict[str, Any]:
    """NAME=VALUE words; a bare NAME is true where that is allowed. Raises UserError."""
    from harness.config.reading.source import parse_value

    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not (equals or bare):
            raise UserError(f"{option} {word}: NAME=VALUE is expected")
        if name in found:
            raise UserError(f"{option} {name}: given twice")
        found[name] = (
            (parse_value(value, f"{option} {word}") if equals else True) if bare else value
        )
    return found


def _choose_engine(server: dict[str, Any], scheduler: str) -> None:
    """Where nothing is asked for and this machine has no GPU, the engine that needs none."""
    from harness.preflight.cluster.machine import has_gpu

    if "engine" not in server and scheduler == "local" and not has_gpu():
        say(f"no GPU here: engine {CPU_ENGINE}, on CPU")
        server["engine"] = CPU_ENGINE
    if server.get("engine") == CPU_ENGINE and scheduler == "local" and not has_gpu():
        server.setdefault("gpus", 0)


def _spec(
    model: str, server: dict[str, Any], rest: dict[str, Any], lora: dict[str, Any],
    overrides: list[str],
) -> ServeSpec:  # fmt: skip
    """The resolved spec. Raises UserError."""
    import re

    from harness.config.load import build_serve, expand, expand_template

    folder = local_model(model)
    shown = model.rstrip("/").rpartition("/")[2] if folder.name != Path(model).name else folder.name
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", shown).strip(".-") or "model"
    template = rest.pop("chat_template")
    data: dict[str, Any] = {
        "name": f"serve-{word}"[:80],
        "model": str(folder),
        "served_name": shown,
        "server": server,
        "chat_template": expand_template(str(template), "--chat-template") if template else None,
        "lora_adapters": {n: str(expand(path, f"--lora {n}")) for n, path in lora.items()},
        **{name: value for name, value in rest.items() if value is not None},
    }
    options = _OPTIONS | {
        ("server", "flags", name): f"--flag {name}" for name in server.get("flags", {})
    }
    return build_serve(data, [f"server.{text}" for text in overrides], options)


_OPTIONS: dict[tuple[str | int, ...], str] = {
    ("model",): "MODEL",
    ("chat_template",): "--chat-template",
    ("lora_adapters",): "--lora",
    ("host",): "--host",
    ("time_limit",): "--time",
    ("server", "flags"): "--flag",
    ("server", "engine"): "--engine",
    ("server", "dtype"): "--dtype",
    ("server", "port"): "--port",
    ("server", "gpus"): "--gpus",
    ("server", "tensor_parallel"): "--tensor-parallel",
    ("server", "data_parallel"): "--data-parallel",
    ("server", "max_model_len"): "--max-model-len",
}


def _stage(
    spec: ServeSpec, site: Site, scheduler: SchedulerName
) -> tuple[Staged, tuple[Finding, ...]]:
    from harness.preflight.cluster.slurm import check_slurm
    from harness.preflight.evaluation.serving import check_serve
    from harness.runs.checkpoints import fingerprint
    from harness.scheduling.stage import stage_serve

    findings = check_serve(spec, scheduler, site)
    if not findings or all(f.level != "error" for f in findings):
        # Whoever asks is told which weights answer.
        name = f"{spec.served_name}@{fingerprint(Path(spec.model))}"
        spec = spec.model_copy(update={"served_name": name})
    staged = stage_serve(spec, site, scheduler)
    return staged, (*findings, *check_slurm(staged))


def _run(staged: Staged, detach: bool, as_json: bool) -> None:
    """Submit, show when ready, stay until the end. Whatever goes wrong before cancels the job."""
    from harness.entry import run_job
    from harness.scheduling.serving import Follower, submit_serve

    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal is a ctrl-C too
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _interrupt)
    run = submit_serve(staged, run_job, say)
    follower = Follower(run, say)
    try:
        state = follower.until_ready()
        print_server(run, _key_file(staged), state, as_json)
        if detach:
            return
        say("ctrl-C stops it")
        follower.until_end()
    except KeyboardInterrupt:
        _stop(run, follower)
    except SchedulerError:
        with suppress(KeyboardInterrupt):
            _stop(run, follower)
        raise
    say("the server has stopped")


def _key_file(staged: Staged) -> str | None:
    from harness.config.serve import ServeSpec

    return staged.spec.key_file if isinstance(staged.spec, ServeSpec) else None


def _stop(run: RunPaths, follower: Any) -> None:
    say(f"stopping {run.name}/{run.run_id}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second ctrl-C must not leave it half stopped
    follower.stop()


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt
