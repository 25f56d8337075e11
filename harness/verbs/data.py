"""Data on disk before any job needs it: prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError
from harness.options import SetSite, SiteFile
from harness.verbs.common import load_site


def prepare(
    benchmarks: Annotated[list[str] | None, typer.Argument(help="Names (see --list), or the YAML file of a benchmark of your own.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take the source files from a folder."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List benchmarks and what is prepared.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prepare again.")] = False,
    site: SiteFile = None,
    site_overrides: SetSite = None,
) -> None:
    """Put benchmark data on disk before any job needs it.

    Examples: python -m harness prepare gsm8k ifeval --from downloads/
              python -m harness prepare my-benchmark.yaml
    """
    from harness.benchmarks.custom import is_definition
    from harness.benchmarks.prepare import is_prepared
    from harness.benchmarks.registry import BENCHMARKS, parse
    from harness.compute.prepare import prepare_benchmark, prepare_own

    folder = Path(load_site(site, site_overrides).benchmarks_dir)
    if show or not benchmarks:
        for b in BENCHMARKS.values():
            state = (
                "prepared" if is_prepared(folder, b.name) else "generated" if b.generate else "-"
            )
            print(f"{b.name:14} {b.items:6} items  {state:10} {b.licence:28} {b.summary}")
        if not show:
            raise UserError("name the benchmarks to prepare")
        return
    for word in benchmarks:
        if not is_definition(word):
            parse(word, "prepare")
    for word in benchmarks:
        if is_definition(word):
            print(f"{word}: {prepare_own(Path(word), folder, force)}", flush=True)
        else:
            name = parse(word, "prepare").name
            print(f"{name}: {prepare_benchmark(name, folder, source, force)}", flush=True)
