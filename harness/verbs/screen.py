"""What the command line shows: the plan, findings, states and tables, as text or JSON."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import printable

if TYPE_CHECKING:
    from harness.preflight.findings import Finding
    from harness.preflight.rows.inspect import Inspection
    from harness.results.table import Table
    from harness.runs.paths import RunPaths
    from harness.scheduling.stage import Staged
    from harness.scheduling.status import RunStatus


def print_dry_run(staged: Staged, findings: Sequence[Finding], as_json: bool) -> None:
    """Every script, the plan, the findings."""
    from harness.scheduling.render import describe

    plan = staged.plan
    if as_json:
        print(json.dumps({"plan": plan.model_dump(mode="json"), "scripts": staged.scripts,
                          "findings": [f.model_dump() for f in findings]}, indent=2))  # fmt: skip
        return
    for name, text in staged.scripts.items():
        print(f"==> {staged.run.script(name)} <==\n{text}")
    print(f"plan of {plan.name} ({staged.scheduler}): {plan.total_steps} steps, "
          f"{len(plan.checkpoints)} checkpoints, {len(plan.cells)} cells")  # fmt: skip
    for job in plan.jobs:
        waits = ", ".join(f"{e.condition} {e.job}" for e in job.after[:3])
        waits += f", … {len(job.after) - 3} more" if len(job.after) > 3 else ""
        tasks = f" [{len(job.tasks)} tasks]" if job.is_array else ""
        each = f"{job.gpus_per_node} GPUs" if job.gpus_per_node else f"{job.cpus_per_node} CPUs"
        print(f"  {job.name}{tasks}: {describe(job, plan)}; {job.nodes} x {each}, "
              f"{job.options.time_limit}{'; after ' + waits if waits else ''}")  # fmt: skip
    for finding in findings:
        print(finding)
    print(f"dry run: nothing was submitted or written ({count_levels(findings)})")


def print_status(state: RunStatus) -> None:
    """Every job and every cell."""
    from datetime import datetime, timezone

    from harness.runs.progress import progress_line

    found = state.run
    print(f"{found.name}/{found.run_id}  {found.root}")
    for name, tasks in state.jobs.items():
        shown = dict.fromkeys(map(str, tasks))
        print(f"  {name}: job {state.manifest.job_id(name) or '-'}: {', '.join(shown)}")
        if name == "train" and state.train:
            print(f"    {printable(progress_line(state.train, datetime.now(timezone.utc)))}")
    for cell in state.cells:
        reason = f": {printable(cell.reason)}" if cell.reason else ""
        print(f"  {cell.cell.checkpoint} x {cell.cell.benchmark}: {cell.state}{reason}")
    if state.server:
        said = state.server
        gone = state.ended and said["state"] not in ("stopped", "failed")
        detail = said.get("reason") or said.get("base_url", "")
        print(f"  server: {'gone' if gone else said['state']}{f': {detail}' if detail else ''}")


def print_server(run: RunPaths, key_file: str | None, state: dict[str, Any], as_json: bool) -> None:
    """How to reach a server of its own that is ready; the file that holds its key, if it has one."""
    url, node, model = state["base_url"], state["node"], state["model"]
    adapters: dict[str, str] = state.get("adapters", {})
    if as_json:
        keys = ("base_url", "node", "model", "job_id", "authenticated", "loopback")
        told = {k: state[k] for k in keys} | ({"adapters": adapters} if adapters else {})
        print(json.dumps({"run": str(run.root), **told, "key_file": key_file}), flush=True)
        return
    print(f"ready after {state['start_seconds']:.0f} s: {url}\nmodel: {model}")
    for name, asked in adapters.items():
        print(f"model: {asked}   (the adapter {name})" if asked != name else f"model: {asked}")
    print(f"key:   {key_file}" if key_file else f"key:   none: every user of {node} can reach it")
    if not state["loopback"]:
        print(f"it listens on {state.get('host', node)}: every host that reaches {node} can ask it")
    elif node != platform.node():
        at = urlsplit(url)
        inside = f"[{at.hostname}]" if ":" in str(at.hostname) else at.hostname
        print(f"it listens on {node} only; from here: ssh -L {at.port}:{inside}:{at.port} {node}")
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    # The key reaches curl through a pipe: arguments are open to every user of the machine.
    secret = (
        f" -H @<(printf 'Authorization: Bearer %s' \"$(cat {shlex.quote(key_file)})\")"
        if key_file
        else ""
    )
    print(f"curl -s {shlex.quote(f'{url}/chat/completions')} -H 'Content-Type: application/json'"
          f"{secret} -d {shlex.quote(body)}")  # fmt: skip
    print(f"stop:  python -m harness cancel {run.run_id}", flush=True)


def print_table(table: Table, written: list[Path], as_json: bool) -> None:
    """The headline metrics, all that is not ok, and where the files are."""
    from harness.results.collect import headlines
    from harness.results.screen import screen_table

    if as_json:
        rows = [
            {"run": r.run, "checkpoint": r.checkpoint, "step": r.step, **r.values}
            for r in table.rows
        ]
        problems = [vars(p) for p in table.problems]
        print(json.dumps({"rows": rows, "problems": problems, "notes": table.notes,
                          "complete": table.is_complete}, indent=2))  # fmt: skip
        return
    if table.rows:
        print(screen_table(table, headlines(table)))
    print(table.summary())
    for problem in table.problems:
        print(f"  {printable(problem.told(len(table.runs) > 1))}")
    for text in table.notes:
        print(f"  note: {printable(text)}")
    for path in written:
        if path.is_file():
            print(printable(str(path)))


def status_json(state: RunStatus) -> dict[str, Any]:
    """A run's state for scripts."""
    return {
        "run": str(state.run.root),
        "ended": state.ended,
        "problem": state.problem,
        "train": state.train,
        "server": state.server,
        "jobs": {n: [{"phase": t.phase, "detail": t.detail} for t in s] for n, s in state.jobs.items()},
        "cells": [
            {"checkpoint": c.cell.checkpoint, "benchmark": c.cell.benchmark, "state": c.state,
             "reason": c.reason, "log": c.log}
            for c in state.cells
        ],
    }  # fmt: skip


def print_inspection(seen: Inspection, as_json: bool) -> None:
    """What a dataset holds; the trained part of each row is green, or in [[ ]] where not a terminal."""
    if as_json:
        print(json.dumps(seen.model_dump(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    columns = printable(", ".join(seen.columns), one_line=True)
    print(f"{printable(seen.folder)}: {seen.rows:,} rows; columns: {columns}")
    for column, roles in seen.roles.items():
        told = ", ".join(f"{role} {count:,}" for role, count in roles.items())
        turns = ", ".join(f"{n}: {count:,}" for n, count in sorted(seen.turns[column].items()))
        print(printable(f"{column}: messages by role: {told}", one_line=True))
        print(printable(f"{column}: rows by number of messages: {turns}", one_line=True))
    for row in seen.shown:
        # A row may hold escape sequences, which must not reach the terminal.
        spans = [(printable(text), on) for text, on in row.spans]
        print(
            f"--- row {row.number}: trained text {'is green' if console.is_terminal else 'in [[ ]]'}"
        )
        if console.is_terminal:
            styled = (Text(text, "bold green" if on else "") for text, on in spans)
            console.print(Text.assemble(*styled))
        else:
            print("".join(f"[[{text}]]" if on else text for text, on in spans))
    for finding in seen.findings:
        print(printable(str(finding)))
    print(count_levels(seen.findings))


def count_levels(findings: Sequence[Finding]) -> str:
    """`1 error, 2 warnings`."""
    counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning")}
    return ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items())
