"""Data on disk before any job needs it: prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError
from harness.options import SetSite, SiteFile
from harness.verbs.common import load_site


def prepare(
    benchmarks: Annotated[list[str] | None, typer.Argument(help="Names; see --list.")] = None,
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

    Example: python -m harness prepare gsm8k ifeval --from downloads/
    """
    from harness.benchmarks.prepare import is_prepared
    from harness.benchmarks.registry import BENCHMARKS, parse
    from harness.compute.prepare import prepare_benchmark

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
    names = [parse(word, "prepare").name for word in benchmarks]
    for name in names:
        print(f"{name}: {prepare_benchmark(name, folder, source, force)}", flush=True)
