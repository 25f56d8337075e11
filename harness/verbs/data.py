"""Data on disk before any job needs it: prepare, data get, data convert, data inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError, printable
from harness.verbs.common import load_site, say
from harness.verbs.data_rows import dedup, split
from harness.verbs.options import AsJson, SetSite, SiteFile, help_of, numeric

SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out, and count them.")]
data_app = typer.Typer(
    help=help_of(
        """Datasets to train on.

        Example: python -m harness data convert chats.jsonl data/chats
        """
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def prepare(
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(help="Names (see --list), or the YAML file of a benchmark of your own."),
    ] = None,
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
    from harness.compute.evaluate.prepare import prepare_benchmark, prepare_own

    resolved = load_site(site, site_overrides)
    folder = Path(resolved.benchmarks_dir)
    if show and (benchmarks or source or force):
        raise UserError("--list shows all of them: leave names, --from and --force out")
    if show or not benchmarks:
        for b in BENCHMARKS.values():
            state = (
                "prepared" if is_prepared(folder, b.name) else "generated" if b.generate else "-"
            )
            print(f"{b.name:14} {b.items:6} items  {state:10} {b.licence:28} {b.summary}")
        if not show:
            raise UserError("name the benchmarks to prepare")
        return
    takes_source = False
    for word in benchmarks:
        if not is_definition(word):
            takes_source |= bool(parse(word, "prepare").benchmark.source)
    if source is not None and not takes_source:
        raise UserError("--from: none of these is made from a publisher's files; leave it out")
    for word in benchmarks:
        if is_definition(word):
            print(f"{word}: {prepare_own(Path(word), folder, force)}", flush=True)
        elif word.startswith("nemo-skills."):
            from harness.compute.evaluate.evaluators.nemo_skills import prepare_data
            from harness.processes.environments import role_wrapper

            task = parse(word, "prepare").name.partition(".")[2]
            count = prepare_data(task, folder, role_wrapper(resolved, "nemo-skills", []))
            print(f"{word}: {count} items, kept by NeMo-Skills", flush=True)
        else:
            name = parse(word, "prepare").name
            print(f"{name}: {prepare_benchmark(name, folder, source, force)}", flush=True)


@data_app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="ID", help="A dataset on the Hub: OWNER/NAME.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it.")],
    subset: Annotated[str | None, typer.Option("--subset", help="Its configuration.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit; default the newest.")
    ] = None,
    skip_bad: SkipBad = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Keep the columns as they are; convert nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a dataset once, where there is internet; started again, it goes on.

    Chats of any shape that `data convert` knows end as `messages`, ready to train on.

    Example: python -m harness data get allenai/tulu-3-sft-mixture data/tulu-3-sft-mixture
    """
    from harness.data.get import get as get_dataset

    facts = get_dataset(
        name, folder, subset=subset, split=split, revision=revision, force=force, report=say,
        skip_bad=skip_bad, as_is=as_is,
    )  # fmt: skip
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    counts = ", ".join(f"{split}: {rows:,} rows" for split, rows in facts["rows"].items())
    size = f"{facts['bytes'] / 1e6:,.1f} MB"
    print(f"{folder}: {counts}; columns {', '.join(facts['columns'])}; {size}")


@data_app.command()
def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files (.jsonl, .json, .csv, .tsv, .parquet, .arrow; also .gz, .zst, .bz2, .xz), "
            "folders as `hf download` leaves them, saved datasets, globs.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the dataset.")],
    skip_bad: SkipBad = False,
    ask: Annotated[
        str | None,
        typer.Option("--ask", metavar="FIELD", help="The field that holds the question."),
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="FIELD", help="The field with the answer.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option("--subset", help="One of a folder's, by its README.md.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read all rows, write nothing, show the first chat.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Chats in any usual shape -> a dataset with a `messages` column; bad rows are named, not dropped.

    Rows hold `messages` (role, content), `conversations` (from, value), or question and answer in
    fields of their own: instruction (input, history) and output, prompt and completion, query and
    response. System prompts, tools, calls and reasoning are kept; what is left out is said. Several
    splits, by name of file or list, become a DatasetDict.

    Examples: python -m harness data convert chats.jsonl data/chats
              python -m harness data convert downloads/OpenHermes data/hermes --dry-run
              python -m harness data convert 'exports/*.json' more.csv data/all --skip-bad
    """
    from harness.data.convert import convert as convert_files
    from harness.data.convert import described
    from harness.data.pairs import Columns

    outcome = convert_files(
        sources, folder, skip_bad=skip_bad, force=force, dry_run=dry_run, subset=subset,
        columns=Columns(ask, answer), report=say,
    )  # fmt: skip
    if as_json:
        print(json.dumps(outcome.facts() | {"dry_run": dry_run}, indent=2, ensure_ascii=False))
        return
    for line in outcome.examples:
        say(f"left out: {line}")
    for line in described(outcome, str(folder), done=not dry_run):
        print(printable(line, one_line=True))
    if dry_run and outcome.first is not None:
        print(
            "first row: " + printable(json.dumps(outcome.first, ensure_ascii=False), one_line=True)
        )


@data_app.command()
def inspect(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder written by save_to_disk.")
    ],
    template: Annotated[
        Path | None,
        typer.Option("--template", "-t", metavar="JINJA", help="Chat template to train with."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Folder or id of the model: its tokenizer.")
    ] = None,
    max_length: Annotated[
        int,
        typer.Option(
            "--max-length", parser=numeric(int, 8), metavar="N", help="Tokens; longer rows are cut."
        ),
    ] = 4096,
    rows: Annotated[
        int,
        typer.Option("--rows", parser=numeric(int, 0), metavar="N", help="How many rows to show."),
    ] = 3,
    split: Annotated[str, typer.Option("--split", help="Of a DatasetDict.")] = "train",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            parser=numeric(int, 0, 2**32 - 1),
            metavar="N",
            help="Chooses the rows that are sampled.",
        ),
    ] = 42,
    as_json: AsJson = False,
) -> None:
    """What a dataset holds and what of it is trained; exit code 2 when it cannot be trained on.

    Example: python -m harness data inspect data/chat --template templates/chat/qwen3.jinja --model Qwen/Qwen3-1.7B-Base
    """
    from harness.preflight.rows.inspect import inspect_dataset
    from harness.verbs.screen import print_inspection

    seen = inspect_dataset(folder, template, model, max_length, rows, split, seed, say)
    print_inspection(seen, as_json)
    raise typer.Exit(2 if any(f.level == "error" for f in seen.findings) else 0)


data_app.command()(dedup)
data_app.command()(split)
for _command in data_app.registered_commands:
    _command.help = help_of(_command.callback.__doc__ if _command.callback else "")
