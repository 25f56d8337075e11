"""What the rows of a training are made from: one set, or several of which rows are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from harness.chats.drawing import (
    SOURCES,
    drawing_digest,
    drawn_of,
    passes_and_rest,
    told,
    too_many,
)
from harness.compute.train.arguments import ScriptArguments
from harness.compute.train.rows.dataset import choose_rows, dataset_digest, link_dataset, open_rows
from harness.compute.train.rows.tokens import BadRow
from harness.config.training.sources import DataSource
from harness.errors import UserError
from harness.runs.resume import ROWS


def trained_facts(script: ScriptArguments, seed: int) -> dict[str, Any]:
    """What a marker says of the rows: their digest and, of a list, what is drawn of each set.

    Raises UserError where a set cannot be read, or the list draws more than `max_samples`.
    """
    if script.dataset_sources is None:
        return {ROWS: dataset_digest(script.dataset_name, script.dataset_split)}
    drawn = drawn_of(script.sources)
    if problem := too_many(sum(one.drawn for one in drawn), script.max_samples):
        raise UserError(f"dataset_sources: {problem}")
    return {ROWS: drawing_digest(drawn, seed), SOURCES: told(drawn)}


def inputs(script: ScriptArguments, seed: int, shuffled: bool) -> dict[str, Any]:
    """All of the data that decides what the tokenised rows are; `shuffled`: by `shuffle_dataset`."""
    sets = [_input(source) for source in script.sources]
    if script.dataset_sources is not None:
        for one, source in zip(sets, script.sources, strict=True):
            one["drawn"] = source.drawn(one.pop("rows"))
        return {"sets": sets, "seed": seed}
    capped = sets[0].pop("rows") > script.max_samples
    return {
        **sets[0],
        "max_samples": script.max_samples if capped else None,
        "seed": seed if capped or shuffled else None,
    }


def _input(source: DataSource) -> dict[str, Any]:
    folder = Path(source.path).resolve()
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".arrow", ".json"))
    stats = [(str(p.relative_to(folder)), p.stat()) for p in files if "cache-" not in p.name]
    rows = open_rows(source.path, str(source.split))
    return {
        "files": [(name, s.st_size, s.st_mtime_ns) for name, s in stats],
        "split": source.split,
        "columns": rows.column_names,
        "rows": len(rows),
    }


@dataclass(frozen=True)
class Part:
    """Rows of one set, and how often they are trained."""

    name: str
    """For a message about a row."""
    rows: Dataset
    times: int = 1
    of_a_list: bool = False


def chosen_rows(script: ScriptArguments, seed: int, links: Path) -> list[Part]:
    """The rows that are trained, read through `links`, where the datasets library then caches."""
    if script.dataset_sources is None:
        linked = link_dataset(Path(script.dataset_name), links)
        every = open_rows(str(linked), script.dataset_split)
        rows, taken = choose_rows(every, script.max_samples, seed)
        print(f"tokenising {taken} of {script.dataset_name}", flush=True)
        return [Part("dataset_name", rows)]
    found = []
    for number, source in enumerate(script.sources):
        linked = link_dataset(Path(source.path), links / str(number))
        every = open_rows(str(linked), str(source.split))
        drawn, name = source.drawn(len(every)), f"dataset_sources: {source.path}"
        print(f"tokenising {drawn:,} drawn of {len(every):,} rows of {source.path}", flush=True)
        passes, rest = passes_and_rest(len(every), drawn, seed, number)
        if passes:
            found.append(Part(name, every, passes, of_a_list=True))
        if rest:
            found.append(Part(name, every.select(rest), of_a_list=True))
    return found


def count(parts: Sequence[Part]) -> int:
    """Rows in all, each as often as it is trained."""
    return sum(len(part.rows) * part.times for part in parts)


def joined(parts: Sequence[Part], tokens: Callable[[Dataset], Dataset], seed: int) -> Dataset:
    """The tokens of all rows; those of a list each as often as it was drawn, in a seeded order.

    `tokens` makes those of some rows. Raises UserError for a row that cannot be trained.
    """
    done = []
    for part in parts:
        try:
            done += [tokens(part.rows)] * part.times
        except BadRow as bad:
            chosen = part.rows._indices
            number = chosen[0][bad.number].as_py() if chosen is not None else bad.number
            raise UserError(f"{part.name}: row {number}: {bad.reason}") from None
    return concatenate_datasets(done).shuffle(seed=seed) if parts[0].of_a_list else done[0]
