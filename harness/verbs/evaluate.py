"""One model on some benchmarks: eval."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.config.endpoint import api_root
from harness.config.engines import shown_names
from harness.errors import UserError, quoted
from harness.verbs.common import approve, follow_run, load_site, local_model, say
from harness.verbs.options import AsJson, Poll, SetSite, SiteFile, only_while_waiting

if TYPE_CHECKING:
    from harness.config.evaluate import EvalSpec

Text = str | None
EXAMPLE = "http://host:port/v1 is expected; a server's key is given by --api-key-env VARIABLE"


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint, a model's folder, or an id in the Hub's cache.")],
    benchmarks: Annotated[str, typer.Option("--benchmarks", "-b", help="Names, with commas: ifeval,gsm8k:4.")],
    engine: Annotated[Text, typer.Option("--engine", help=f"{shown_names()}.")] = None,
    server_address: Annotated[Text, typer.Option("--server-address", metavar="URL", help="Ask this running server (http://host:port/v1).")] = None,
    server_model: Annotated[Text, typer.Option("--model", metavar="NAME", help="With --server-address: its name of the model (default MODEL).")] = None,
    api_key_env: Annotated[Text, typer.Option("--api-key-env", metavar="VARIABLE", help="With --server-address: the variable that holds its key.")] = None,
    chat_template: Annotated[Path | None, typer.Option("--chat-template", metavar="FILE", help="A jinja file in place of the model's own.")] = None,
    name: Annotated[Text, typer.Option("--name", help="Name of the run; default from MODEL.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field of `evaluation`, e.g. sampling.temperature=0 or server.gpus=1.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Here, without Slurm.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the table.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show plan and scripts; touch nothing.")] = False,
    no_check: Annotated[bool, typer.Option("--no-check", help="Submit in spite of errors found.")] = False,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    poll: Poll = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Evaluate one model: the same folder, gates and table as a run has.

    Examples: python -m harness eval runs/qwen3/latest/checkpoints/checkpoint-500 -b ifeval,gsm8k
              python -m harness eval qwen3 -b gsm8k --server-address http://127.0.0.1:8000/v1
    """
    from harness.entry import run_job
    from harness.preflight.cluster.slurm import check_slurm
    from harness.preflight.evaluation.folders import resolve_folders
    from harness.preflight.evaluation.standalone import check_eval
    from harness.scheduling.stage import choose_scheduler, stage_eval
    from harness.scheduling.submit import submit

    only_while_waiting(poll, not detach, "waiting: leave --detach out")
    here = local or server_address is not None  # a running server is reached from here
    resolved = load_site(site, site_overrides, local=here)
    scheduler = choose_scheduler(resolved)
    external = _external(server_address, server_model or model, api_key_env)
    if (server_model or api_key_env) and external is None:
        raise UserError("--model and --api-key-env go with --server-address")
    server: dict[str, Any] = {"engine": engine} if engine else {}
    if external:
        server["gpus"] = 0
    data: dict[str, Any] = {
        "evaluation": {"benchmarks": _words(benchmarks), "server": server},
        "external": external,
        **_model(model, external, chat_template),
    }
    data["name"] = name or data["name"]
    spec = _spec(data, overrides or [])
    spec = spec.model_copy(update={"evaluation": resolve_folders(spec.evaluation)})
    staged = stage_eval(spec, resolved, scheduler)
    findings = [*check_eval(spec, resolved, scheduler), *check_slurm(staged)]
    approve(staged, findings, dry_run, as_json, no_check)
    run = submit(staged, run_job, report=say)
    say(f"run {run.name}/{run.run_id} ({scheduler}): {run.root}")
    if detach and as_json:
        print(json.dumps({"run": str(run.root), "scheduler": scheduler}))
        return
    if detach:
        say(f"follow it:  python -m harness status {run.run_id} --wait")
        return
    follow_run(run, poll, as_json)


def _words(text: str) -> list[str]:
    """Names with commas, each known. Raises UserError."""
    from harness.benchmarks.registry import parse

    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError("-b: names of benchmarks are expected: -b ifeval,gsm8k:4")
    for word in words:
        parse(word, "-b")
    return words


def _external(address: Text, name: str, key: Text) -> dict[str, Any] | None:
    """The server that is asked, by its API's root. Raises UserError."""
    if address is None:
        return None
    try:
        root = api_root(address)
    except ValueError as error:
        # What may hold a key or a password is not shown again.
        shown = "" if {"@", "?", "#"} & set(address) else f" {quoted(address)}"
        raise UserError.at(f"--server-address{shown}", str(error), EXAMPLE) from None
    return {
        "address": root if root.endswith("/v1") else f"{root}/v1",
        "model": name,
        "api_key_env": key,
    }


def _model(model: str, external: dict[str, Any] | None, template: Path | None) -> dict[str, Any]:
    """Folder, names and template. Raises UserError."""
    from harness.config.load import expand_template
    from harness.runs.paths import BASE

    if not model.strip():
        raise UserError("MODEL: it is empty")
    if external and template:
        raise UserError("--chat-template: a running server has its own")
    is_folder = os.path.isdir(model)  # False, too, of a name that no file system takes
    shown = Path(os.path.abspath(model)).name if is_folder else model.rstrip("/").rpartition("/")[2]
    if external and not is_folder:
        return {"model": model, "name": _run_name(shown)}
    folder = Path(os.path.abspath(model)) if external else local_model(model)
    checkpoint, of = _checkpoint(folder)
    return {
        "model": str(folder),
        "checkpoint": checkpoint or BASE,
        "name": _run_name(f"{of}-{checkpoint}" if checkpoint else shown),
        "chat_template": expand_template(str(template), "--chat-template") if template else None,
    }


def _checkpoint(folder: Path) -> tuple[str, str]:
    """The name of a checkpoint's folder, anybody's, and of what it is of; empty for another model.

    Of a run of ours, runs/<name>/<id>/checkpoints/checkpoint-500, it is the run's name; of others'
    the folder above, as in <name>/global_step_500.
    """
    from harness.runs.checkpoints import read_marker
    from harness.runs.paths import checkpoint_step, step_of_name

    if step_of_name(folder.name) is None:
        return "", ""
    above = folder.resolve().parents
    ours = checkpoint_step(folder.name) is not None and read_marker(folder) is not None
    return folder.name, above[2 if ours and len(above) > 3 else 0].name


def _run_name(text: str) -> str:
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "model"
    return f"eval-{word}"[:80]


def _spec(data: dict[str, Any], overrides: list[str]) -> EvalSpec:
    from harness.config.load import build_eval

    options: dict[tuple[str | int, ...], str] = {
        ("name",): "--name",
        ("model",): "MODEL",
        ("chat_template",): "--chat-template",
        ("external", "model"): "--model",
        ("external", "address"): "--server-address",
        ("external", "api_key_env"): "--api-key-env",
        ("evaluation", "benchmarks"): "-b",
        ("evaluation", "server", "engine"): "--engine",
    }
    return build_eval(data, [f"evaluation.{text}" for text in overrides], options)
