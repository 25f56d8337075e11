"""Arguments and options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Override a field, e.g. train.learning_rate=1e-5."
    ),
]
SetSite = Annotated[
    list[str] | None,
    typer.Option("--set-site", metavar="FIELD=VALUE", help="Override a field of the site file."),
]
SiteFile = Annotated[
    str | None, typer.Option("--site", help="Site file; default $HARNESS_SITE, then site.yaml.")
]
Poll = Annotated[
    float | None,
    typer.Option(
        "--poll", min=0.5, help="With --wait: seconds between looks (default 2, on Slurm 30)."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
SpecFile = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file, or a name in jobs/.")]
RunWord = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Run folder, id or name; default the latest.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Follow the run to its end, then collect its table.")
]
