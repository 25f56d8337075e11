"""The rows that will be trained: of one set, or drawn of several, each checked by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.chats.dataset import SavedDataset
from harness.chats.drawing import nothing_drawn, passes_and_rest, too_many
from harness.chats.tokenizing import RowTokens
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error, note
from harness.preflight.rows.contents import RowCheck, check_rows
from harness.preflight.rows.dataset import check_dataset
from harness.preflight.rows.tokens import SAMPLE_ROWS, Sample, check_tokens
from harness.preflight.stages import Stages

DATA = "train.dataset_name"


@dataclass
class CheckedData:
    """What the checks of all sets learned."""

    rows: int | None = None
    """Rows that are trained in an epoch, before `max_samples`; None when a set cannot be read."""
    sample: Sample | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class _Set:
    path: str
    dataset: SavedDataset | None
    sample: Sample | None
    findings: list[Finding]


def check_sources(train: TrainSpec, model: str | None, progress: Stages) -> CheckedData:
    """Check every set of `train.dataset_name`; `model` (a folder or an id) is None where the template
    is known to be wrong."""
    if isinstance(train.dataset_name, str):
        (only,) = _sets(train, model, progress)
        return CheckedData(only.dataset.rows if only.dataset else None, only.sample, only.findings)
    sets = _sets(train, model, progress)
    done = CheckedData(findings=_placed(sets) + _same_folder(train))
    datasets = [one.dataset for one in sets if one.dataset is not None]
    if len(datasets) < len(sets):
        return done
    drawn = [s.drawn(d.rows) for s, d in zip(train.sources, datasets, strict=True)]
    done.rows = sum(drawn)
    done.findings += _drawn_findings(train, datasets, drawn)
    samples = [one.sample for one in sets if one.sample is not None]
    if done.rows and len(samples) == len(sets):
        done.sample = joined_sample(samples, drawn, train.seed)
    return done


def planned_rows(train: TrainSpec) -> int | None:
    """Rows that are trained in an epoch, before `max_samples`; None when a set cannot be read."""
    found = [check_dataset(view)[0] for view in views(train)]
    datasets = [dataset for dataset in found if dataset is not None]
    if len(datasets) < len(found):
        return None
    return sum(s.drawn(d.rows) for s, d in zip(train.sources, datasets, strict=True))


def views(train: TrainSpec) -> list[TrainSpec]:
    """The spec as if each of the sets were the only one."""
    return [
        train.model_copy(update={"dataset_name": s.path, "dataset_split": s.split})
        for s in train.sources
    ]


def _sets(train: TrainSpec, model: str | None, progress: Stages) -> list[_Set]:
    return [_checked(view, model, progress) for view in views(train)]


def _checked(view: TrainSpec, model: str | None, progress: Stages) -> _Set:
    progress.stage(f"the rows of {view.dataset_name}")
    dataset, findings = check_dataset(view)
    data = check_rows(view, dataset) if dataset else RowCheck()
    findings += data.findings
    sample = None
    if model is not None:
        progress.stage("template and a sample of rows, by the tokenizer")
        sample, found = check_tokens(view, model, dataset, data)
        findings += found
    return _Set(str(view.dataset_name), dataset, sample, findings)


def _placed(sets: Sequence[_Set]) -> list[Finding]:
    """Findings of all sets, each at its entry; what is said of every set is said once."""
    everywhere = [f for f in sets[0].findings if all(f in one.findings for one in sets)]
    common = [f for f in everywhere if f.place != DATA]
    placed = list(common)
    for number, one in enumerate(sets):
        for finding in one.findings:
            if finding in common:
                continue
            if finding.place == DATA:
                changed = {"place": f"{DATA}.{number}"}
            else:
                changed = {"message": f"{one.path}: {finding.message}"}
            placed.append(finding.model_copy(update=changed))
    return placed


def _same_folder(train: TrainSpec) -> list[Finding]:
    """Entries that are one folder by another name (a link)."""
    seen: dict[tuple[Path, str], str] = {}
    found = []
    for number, source in enumerate(train.sources):
        first = seen.setdefault((Path(source.path).resolve(), str(source.split)), source.path)
        if first != source.path:
            text = f"{source.path} is the same folder as {first}"
            cure = "Give it once, with the sum of the weights"
            found.append(error(f"{DATA}.{number}.path", text, cure))
    return found


def _drawn_findings(
    train: TrainSpec, datasets: Sequence[SavedDataset], drawn: Sequence[int]
) -> list[Finding]:
    found = []
    total = sum(drawn)
    for number, (source, dataset, count) in enumerate(
        zip(train.sources, datasets, drawn, strict=True)
    ):
        place = f"{DATA}.{number}"
        if count == 0 and dataset.rows:
            found.append(error(place, nothing_drawn(source, dataset.rows), "Raise its weight"))
        elif count:
            text = f"{source.path}: {count:,} rows drawn of {dataset.rows:,} (weight "
            text += f"{source.weight:g}), {count / total:.1%} of {total:,} trained in an epoch"
            found.append(note(place, text))
    if problem := too_many(total, train.max_samples):
        cure = "Raise it, or lower weights or max_samples of the entries"
        found.append(error("train.max_samples", problem, cure))
    return found


def joined_sample(samples: Sequence[Sample], drawn: Sequence[int], seed: int) -> Sample:
    """A sample of the rows that are drawn of several sets, each by its share of them, mixed.

    Where all rows of a set were looked at, and as many fit, these are the very ones.
    """
    total = sum(drawn)
    share = min(SAMPLE_ROWS / total, 1.0)
    rows: list[RowTokens] = []
    for number, (sample, count) in enumerate(zip(samples, drawn, strict=True)):
        if share == 1.0 and len(sample.rows) == sample.of:
            passes, rest = passes_and_rest(sample.of, count, seed, number)
            rows += [*sample.rows.values()] * passes + [sample.rows[n] for n in rest]
            continue
        seen, wanted = [*sample.rows.values()], max(round(count * share), 1)
        rows += (seen * (wanted // max(len(seen), 1) + 1))[:wanted]
    random.Random(seed).shuffle(rows)
    return Sample(dict(enumerate(rows)), total)
