"""Rows to tokens, and which of them are trained: for `check`, for tokenising, in one place.

What comes out is what SFTTrainer's own preparation makes (TRL 1.16, `_prepare_dataset`), a batch of
rows at a time; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.chats.rows import Row, RowProblem, ready
from harness.chats.weights import untrained_spans

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Tokens:
    """One row."""

    ids: list[int]
    mask: list[int]
    """1 where a token counts in the loss."""
    beyond: int = 0
    """Tokens that were not made of a text that was cut, by estimate."""


@dataclass(frozen=True)
class Rendered:
    """A row as text."""

    text: str
    spans: Spans | None
    """Where the answers are; None: everything is trained."""
    before: str | None
    """The prompt alone, where only what comes after it is trained."""
    chat: bool
    """Of messages: the template writes the special tokens."""
    beyond: int = 0
    """Characters that were cut off."""


@dataclass(frozen=True)
class Cut:
    """Texts longer than this are cut before they are tokenised."""

    characters: int
    keep_end: bool = False

    def apply(self, done: Rendered) -> Rendered:
        beyond = len(done.text) - self.characters
        if beyond <= 0:
            return done
        start = beyond if self.keep_end else 0
        end = start + self.characters
        spans = done.spans and [
            (max(a, start) - start, min(b, end) - start)
            for a, b in done.spans
            if min(b, end) > max(a, start)
        ]
        before = done.before[: self.characters] if done.before else done.before
        if done.before is not None and self.keep_end:
            before = done.before[start:] if len(done.before) > start else ""
        return Rendered(done.text[start:end], spans, before, done.chat, beyond)


class Renderer:
    """Renders and tokenises rows with one tokenizer."""

    def __init__(
        self, tokenizer: Any, *, masked: bool, completion_only: bool = True, cut: Cut | None = None
    ) -> None:
        """`masked`: only the assistant's tokens are trained; `completion_only`: of a row with
        `prompt` and `completion` only the latter is."""
        self.tokenizer = tokenizer
        self._masked, self._completion_only, self._cut = masked, completion_only, cut

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Tokens | Exception]:
        """Of each row its tokens, or why it has none: whatever a template may raise."""
        done = [self._text_or_problem(row) for row in rows]
        good = [(i, one) for i, one in enumerate(done) if isinstance(one, Rendered)]
        found: list[Any] = list(done)
        for chat in (True, False):
            batch = [(i, one) for i, one in good if one.chat is chat]
            for (i, _), tokens in zip(batch, self._tokens([r for _, r in batch]), strict=True):
                found[i] = tokens
        return found

    def row(self, row: Mapping[str, Any]) -> Tokens:
        """One row. Raises RowProblem, and whatever a template may raise."""
        (found,) = self.rows([row])
        if isinstance(found, Exception):
            raise found
        return found

    def text(self, row: Mapping[str, Any]) -> Rendered:
        """A row as text. Raises RowProblem, and whatever a template may raise."""
        made = ready(row)
        if made.get("messages") is not None:
            text, spans = self._conversation(made["messages"], made)
            return Rendered(text, spans, None, chat=True)
        prompt, completion = made.get("prompt"), made.get("completion")
        if prompt is None or completion is None:
            missing = "messages" if "prompt" not in row else "prompt or completion"
            raise RowProblem(f"no {missing}")
        if isinstance(prompt, str) and isinstance(completion, str):
            end = self.tokenizer.eos_token or ""
            text = prompt + completion
            return Rendered(
                text if completion.endswith(end) else text + end, None,
                prompt if self._completion_only else None, chat=False,
            )  # fmt: skip
        text, spans = self._conversation(prompt + completion, made)
        before = self.render(prompt, made, prompt=True)[0] if self._completion_only else None
        return Rendered(text, spans, before, chat=True)

    def render(self, turns: Any, made: Row, *, prompt: bool = False) -> tuple[str, Spans]:
        """The template's text, and where its generation blocks are."""
        if not turns:
            raise RowProblem("no messages")
        kwargs = made.get("chat_template_kwargs", {})
        options: dict[str, Any] = {"tools": made.get("tools"), "add_generation_prompt": prompt}
        if prompt or not self._masked:
            return self.tokenizer.apply_chat_template(
                turns, tokenize=False, **options, **kwargs
            ), []
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, spans = render_jinja_template(
            conversations=[turns],
            chat_template=self.tokenizer.get_chat_template(None, options["tools"]),
            return_assistant_tokens_mask=True,
            **options,
            **{**self.tokenizer.special_tokens_map, **kwargs},
        )
        return texts[0], list(spans[0])

    def _text_or_problem(self, row: Mapping[str, Any]) -> Rendered | Exception:
        try:
            done = self.text(row)
        except Exception as problem:  # a template may raise anything
            return problem
        return self._cut.apply(done) if self._cut else done

    def _conversation(self, turns: Any, made: Row) -> tuple[str, Spans | None]:
        text, spans = self.render(turns, made)
        if not self._masked:
            untrained_spans(turns, None, lambda tagged: [])
            return text, None
        if not any(end > start for start, end in spans):
            roles = [turn.get("role") if isinstance(turn, dict) else None for turn in turns]
            raise RowProblem(f"no assistant token in it (roles {roles})")
        left_out = untrained_spans(turns, len(spans), lambda tagged: self._pieces(tagged, made))
        return text, [span for i, span in enumerate(spans) if i not in left_out]

    def _pieces(self, turns: Any, made: Row) -> list[str]:
        text, spans = self.render(turns, made)
        return [text[start:end] for start, end in spans]

    def _tokens(self, batch: list[Rendered]) -> Iterator[Tokens]:
        if not batch:
            return
        special = {} if not batch[0].chat else {"add_special_tokens": False}
        encoded = self.tokenizer([one.text for one in batch], **special)
        befores = [one.before for one in batch if one.before is not None]
        prompts = iter(self.tokenizer(befores, **special)["input_ids"] if befores else ())
        for number, (one, ids) in enumerate(zip(batch, encoded["input_ids"], strict=True)):
            mask = [1] * len(ids)
            if one.spans is not None:
                mask = _mask(encoded, number, one.spans, len(ids))
            if one.before is not None:
                start = _common(next(prompts), ids)
                mask[:start] = [0] * start
            beyond = round(one.beyond * len(ids) / max(len(one.text), 1))
            yield Tokens(list(ids), mask, beyond)


def _mask(encoded: Any, number: int, spans: Spans, length: int) -> list[int]:
    """1 for the tokens of these stretches of text, as transformers' own mask has it."""
    mask = [0] * length
    for start, end in spans:
        if end <= start:
            continue
        first = encoded.char_to_token(number, start)
        if first is None:
            break
        last = encoded.char_to_token(number, end - 1)
        stop = last + 1 if last else length
        mask[first:stop] = [1] * (stop - first)
    return mask


def _common(one: Sequence[int], two: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = zip(one, two, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(two)))
