"""What the tokenizer says: the template's behaviour, lengths and masks of a sample of rows."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.chats.dataset import SavedDataset, choose_columns
from harness.chats.end_token import with_end_token, with_end_tokens
from harness.chats.tokenizing import Answer, Request, RowTokens
from harness.config.training.train import TrainSpec
from harness.errors import CommandError, ResultError
from harness.package import needs
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.rows.contents import RowCheck
from harness.preflight.rows.rendered import rendered_findings
from harness.processes.shell import own_module, tethered
from harness.runs.files import read_json

SAMPLE_ROWS = 2000
TEMPLATE, DATA, EOS = "train.chat_template_path", "train.dataset_name", "train.eos_token"
_TIMEOUT_S = 180.0
_MANY = 0.05
_SHOWN = 5


class Unavailable(Exception):
    """The tokenizer cannot be asked here; the message says why."""


def ask(request: Request) -> Answer:
    """Run the tokenizer in a process without torch.

    Raises Unavailable where transformers is not installed, CommandError when it fails.
    """
    if find_spec("transformers") is None:
        raise Unavailable("transformers is not installed in this Python")
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    if Path(request.model).is_dir():
        env["HF_HUB_OFFLINE"] = "1"  # a folder needs no questions to the Hub
    output = tethered(
        own_module("harness.chats.tokenizing"),
        timeout=_TIMEOUT_S, stdin=request.model_dump_json(), env=env,
    )  # fmt: skip
    return Answer.model_validate_json(output)


@dataclass(frozen=True)
class Sample:
    """A random sample of a dataset, tokenised."""

    rows: dict[int, RowTokens]
    """By row number; rows that could not be rendered are among them."""
    of: int
    """Rows of the dataset."""

    @property
    def good(self) -> list[RowTokens]:
        return [row for row in self.rows.values() if not row.problem]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row before any cut."""
        return [row.length for row in self.good]

    def share_masked(self) -> float:
        """Share of rows in which nothing is trained within `max_length`."""
        return sum(row.trained == 0 for row in self.good) / max(len(self.good), 1)

    def share_cut(self, max_length: int) -> float:
        """Share of rows longer than `max_length`."""
        return sum(row.length > max_length for row in self.good) / max(len(self.good), 1)

    def percentile(self, share: float) -> int:
        """Length in tokens that so large a share of rows does not exceed (nearest rank)."""
        ordered = sorted(self.lengths)
        rank = math.ceil(share * len(ordered) - 1e-9)  # 0.07 * 100 is a little more than 7
        return ordered[max(rank, 1) - 1]


def sample_rows(
    dataset: SavedDataset, data: RowCheck, seed: int
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Rows by number, with the columns that are trained: suspects that are not in the sample, and a
    random sample."""
    if not data.readable:
        return {}, {}
    columns = choose_columns(dataset.columns).read
    rows = dataset.sample(SAMPLE_ROWS, seed, columns)
    suspects = [number for number in data.suspects if number not in rows]
    return dataset.take(suspects, columns), rows


def request_for(
    train: TrainSpec, model: str, template: str | None, rows: tuple[dict[str, Any], ...],
    roles: tuple[str, ...] = (), show: int = 0,
) -> Request:  # fmt: skip
    """What training will do with these rows."""
    return Request(
        model=model,
        template=template,
        eos_token=train.eos_token,
        trust_remote_code=bool(train.sft.get("trust_remote_code", False)),
        revision=(train.sft.get("model_init_kwargs") or {}).get("revision"),
        pad_token=train.sft.get("pad_token"),
        masked=train.assistant_only_loss,
        completion_only=train.sft.get("completion_only_loss") is not False,
        max_length=train.max_length,
        keep_end=not train.packing and train.sft.get("truncation_mode") == "keep_end",
        roles=roles,
        rows=rows,
        show=show,
    )


def check_tokens(
    train: TrainSpec, model: str, dataset: SavedDataset | None, data: RowCheck
) -> tuple[Sample | None, list[Finding]]:
    """Template and sample, by the real tokenizer of `model` (a folder, or an id on the Hub)."""
    suspects, rows = sample_rows(dataset, data, train.seed) if dataset else ({}, {})
    template = None
    if train.chat_template_path:
        template = Path(train.chat_template_path).read_text(encoding="utf-8")
    try:
        tried = (*suspects.values(), *rows.values())
        answer = ask(request_for(train, model, template, tried, data.unknown_roles))
    except Unavailable as problem:
        text = f"the template and the rows were not tried with the tokenizer: {problem}"
        return None, [warning(TEMPLATE, text, f"{needs('train')}, or transformers alone")]
    except CommandError as problem:
        last = (problem.stderr.strip() or "it did not answer in time").splitlines()[-1]
        return None, [error("train.model_name", f"the tokenizer of {model} fails: {last}")]
    findings = template_findings(train, answer, model)
    if not answer.probe_problem:
        findings += rendered_findings(answer, data, model)
    broken = any(f.level == "error" for f in findings)
    if broken or not rows or not answer.rows or dataset is None:
        return None, findings  # with a wrong template the rows tell nothing
    sample, more = split_rows(list(suspects), list(rows), answer.rows, dataset.rows)
    return sample, findings + more + sample_findings(train, sample)


def split_rows(
    suspects: list[int], sampled: list[int], answers: tuple[RowTokens, ...], of: int
) -> tuple[Sample, list[Finding]]:
    """The sample, and findings about the suspects, which came first."""
    failed = {n: a.problem for n, a in zip(suspects, answers, strict=False) if a.problem}
    sample = Sample(dict(zip(sampled, answers[len(suspects) :], strict=False)), of)
    if not failed:
        return sample, []
    first = ", ".join(map(str, list(failed)[:_SHOWN])) + (", …" if len(failed) > _SHOWN else "")
    text = (
        f"{len(failed):,} of {len(suspects):,} rows of rare shapes cannot be rendered "
        f"(number {first}): {next(iter(failed.values()))}"
    )
    cure = "Leave these rows out, or use a template that takes them"
    return sample, [error(DATA, text, cure)]


def template_findings(train: TrainSpec, answer: Answer, model: str) -> list[Finding]:
    """Findings about template and end tokens."""
    shipped = (
        "Take a template of templates/chat/, or close the generation block after the end token"
    )
    if answer.eos_unknown:
        text = f"{train.eos_token!r} is not in the vocabulary of {model}"
        return [error(EOS, text, "Leave it unset, or name a token that the tokenizer has")]
    if not answer.has_template:
        return []  # said by the static check
    if answer.probe_problem:
        text = f"two questions with answers cannot be rendered: {answer.probe_problem}"
        return [error(TEMPLATE, text, shipped)]
    findings = []
    if train.assistant_only_loss and not answer.probe_trained:
        findings.append(error(TEMPLATE, "marks no token of an assistant's turn", shipped))
    elif train.assistant_only_loss and not answer.ends_trained:
        found = ", ".join(map(repr, answer.probe_last)) or "nothing"
        end = repr(answer.end.text) if answer.end else "no special token at all"
        text = (
            f"the stop token is never trained: marked turns end with {found}, the turn with {end}"
        )
        findings.append(error(TEMPLATE, text, shipped))
    if not answer.prompt_is_prefix:
        text = "what a server sends (with the generation prompt) is not how the trained text begins"
        findings.append(warning(TEMPLATE, text, "The model is asked in another form than trained"))
    for role, done in answer.roles.items():
        if done == "dropped":
            text = f"messages of role {role!r} are in the data, and the template leaves them out"
            findings.append(warning(TEMPLATE, text, "Rename the role, or use another template"))
        elif done != "rendered":
            text = f"messages of role {role!r} are in the data, and the template {done}"
            findings.append(error(TEMPLATE, text, "Rename the role, or use another template"))
    return findings + _end_findings(train, answer, model)


def _end_findings(train: TrainSpec, answer: Answer, model: str) -> list[Finding]:
    """Do eos_token, tokenizer, template and generation config agree; what will be saved."""
    known = _known_ends(Path(model))
    asked = answer.eos.id if answer.eos and train.eos_token is not None else None
    # TRL puts eos_token in front, then the trainer puts the template's end token.
    ids = with_end_tokens(
        with_end_token(known, asked),
        [t.id for t in answer.ends],
        answer.end.id if answer.end else None,
    )
    names = {t.id: t.text for t in (answer.eos, answer.end, *answer.ends) if t}
    listed = ", ".join(f"{names[i]} ({i})" if i in names else str(i) for i in ids) or "nothing"
    findings = [note(EOS, f"each checkpoint's generation_config will list as end tokens: {listed}")]
    for token in answer.inner_ends:
        text = (
            f"{token.text} ends some turns and stands inside of answers, too: it is no end token "
            "in generation_config, as a server would cut these answers off"
        )
        findings.append(note(EOS, text))
    if answer.end is None:
        text = "no special token ends an assistant's turn in the template: a server never stops"
        findings.append(warning(TEMPLATE, text, "End each turn with a token such as <|im_end|>"))
    elif asked is not None and asked != answer.end.id:
        text = f"is {train.eos_token}, but the template ends a turn with {answer.end.text}"
        findings.append(warning(EOS, text, f"eos_token: {answer.end.text!r}, or leave it unset"))
    return findings


def _known_ends(folder: Path) -> int | list[int] | None:
    """End tokens in a model's folder: its generation config's, else its config's."""
    for name in ("generation_config.json", "config.json"):
        try:
            value = read_json(folder / name).get("eos_token_id")
        except (ResultError, AttributeError):
            continue
        if value is not None:
            return value  # type: ignore[no-any-return]
    return None


def sample_findings(train: TrainSpec, sample: Sample) -> list[Finding]:
    """Findings about lengths and masks."""
    findings = []
    failed = [(n, row.problem) for n, row in sample.rows.items() if row.problem]
    if failed:
        numbers = ", ".join(str(n) for n, _ in sorted(failed)[:5])
        text = (
            f"{len(failed):,} of {len(sample.rows):,} sampled rows cannot be rendered "
            f"(number {numbers}): {failed[0][1]}"
        )
        findings.append(error(DATA, text, "Leave these rows out, or use another template"))
    if not sample.good:
        return findings
    findings.append(note("train.max_length", describe(sample, train.max_length)))
    masked, cure = sample.share_masked(), "Raise train.max_length, or leave out these rows"
    if masked == 1:
        text = f"no sampled row has a trained token within max_length {train.max_length}"
        findings.append(error("train.max_length", text, cure))
    elif masked > _MANY:
        text = f"{masked:.1%} of rows have no trained token within max_length {train.max_length}"
        findings.append(warning("train.max_length", text, cure))
    return findings


def describe(sample: Sample, max_length: int) -> str:
    """Lengths and masks in one sentence."""
    median, ninety, top = sample.percentile(0.5), sample.percentile(0.9), sample.percentile(0.99)
    return (
        f"{len(sample.good):,} of {sample.of:,} rows sampled: {median:,} tokens at the median, "
        f"{ninety:,} at 90 %, {top:,} at 99 %, {max(sample.lengths):,} the longest; "
        f"{sample.share_cut(max_length):.1%} are cut at {max_length:,}, "
        f"{sample.share_masked():.1%} then have no trained token"
    )
