"""Grading of verifiable instructions (ifeval) with lm-eval's copy of Google's own checkers.

The rules are those of google-research `instruction_following_eval/evaluation_lib.py`. lm-eval
0.4.13's copy of the checkers differs from google-research's current ones in one place, which
`_build` mends.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from harness.compute.evaluate.graders.responses import strip_reasoning
from harness.compute.evaluate.graders.workers import Command, Failure, Helpers
from harness.errors import EvaluationError
from harness.package import needs
from harness.processes.shell import importable

_CHECKERS = "lm_eval.tasks.ifeval"
_GRADED = ("prompt", "instruction_id_list", "kwargs")
NEED_PUNKT = frozenset(
    {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
)
_LOADING = threading.Lock()
_SHORT = 20_000
"""Characters of a response that is checked here. The checkers' patterns take time by the square of
a line's length; in a longer one they may take hours, inside a C call that nothing interrupts."""
_WORKER = "harness.compute.evaluate.graders.instructions_worker"
_LONG_LIMIT_S = 60.0


class InstructionGrader:
    """Strict and loose verdicts for each instruction of a prompt."""

    def __init__(self) -> None:
        self._helpers: Helpers | None = None

    def grade(
        self, items: Sequence[Mapping[str, Any]], responses: Sequence[str], *, workers: int = 2
    ) -> list[dict[str, Any]]:
        """For each row `strict_eval` and `loose_eval`.

        Each holds `follow_all_instructions` and `follow_instruction_list`. Items need `prompt`,
        `instruction_id_list` and `kwargs`. A response that a checker breaks on, or needs more than
        a minute for, does not follow. `workers` is for responses of unusual length; the others
        are fast.

        Raises:
            EvaluationError: a package or NLTK's punkt_tab is missing, or an instruction unknown.
        """
        needed = {name for item in items for name in item["instruction_id_list"]}
        checkers = load_checkers(needs_punkt=bool(needed & NEED_PUNKT))
        if unknown := sorted(needed - checkers.keys()):
            raise EvaluationError(f"lm-eval has no checker for {', '.join(unknown)}")
        pairs = [(i, strip_reasoning(r)) for i, r in zip(items, responses, strict=True)]
        long = [pair for pair in pairs if len(pair[1]) > _SHORT]
        apart = iter(self._apart(long, workers))
        return [
            next(apart) if len(text) > _SHORT else grade_one(checkers, item, text)
            for item, text in pairs
        ]

    def _apart(
        self, pairs: Sequence[tuple[Mapping[str, Any], str]], workers: int
    ) -> list[dict[str, Any]]:
        """Grades by helper processes, each under a time limit."""
        if not pairs:
            return []
        if self._helpers is None:
            argv = [sys.executable, "-m", _WORKER]
            self._helpers = Helpers(Command(argv, env=importable(), tries_when_late=1))
        tasks = [{"item": {n: item[n] for n in _GRADED}, "response": text} for item, text in pairs]
        found = self._helpers.run(tasks, [_LONG_LIMIT_S] * len(tasks), workers)
        return [
            _unfollowed(item, each.reason) if isinstance(each, Failure) else each
            for (item, _), each in zip(pairs, found, strict=True)
        ]


def grade_one(
    checkers: Mapping[str, Any], item: Mapping[str, Any], response: str
) -> dict[str, Any]:
    """Both verdicts on one response without its think block."""
    instructions = [
        _build(checkers[name], name, kwargs, item["prompt"])
        for name, kwargs in zip(item["instruction_id_list"], item["kwargs"], strict=True)
    ]
    strict = [_follows(each, [response]) for each in instructions]
    # The response itself is one of the loose texts, and others are often the same.
    others = [text for text in dict.fromkeys(loosened(response)) if text != response]
    loose = [
        followed or _follows(each, others)
        for each, followed in zip(instructions, strict, strict=True)
    ]
    return {"strict_eval": _verdict(strict), "loose_eval": _verdict(loose)}


def _unfollowed(item: Mapping[str, Any], why: str) -> dict[str, Any]:
    _tell(f"{item.get('id', 'a response')} cannot be checked ({why})")
    none = [False] * len(item["instruction_id_list"])
    return {"strict_eval": _verdict(none), "loose_eval": _verdict(list(none))}


def _verdict(followed: list[bool]) -> dict[str, Any]:
    return {"follow_all_instructions": all(followed), "follow_instruction_list": followed}


def _follows(instruction: Any, variants: Sequence[str]) -> bool:
    return any(text.strip() and _check(instruction, text) for text in variants)


def _check(instruction: Any, text: str) -> bool:
    try:
        return bool(instruction.check_following(text))
    except Exception as error:  # a thousand brackets are too deep for a JSON parser, for one
        _tell(f"{type(instruction).__name__} breaks on a response ({type(error).__name__})")
        return False


@functools.cache  # the same once
def _tell(what: str) -> None:
    print(f"{what}: it counts as not followed", file=sys.stderr, flush=True)


def loosened(response: str) -> list[str]:
    """The eight texts of which one has to follow an instruction for the loose verdict.

    The whole, without its first line, its last, both; each as it is and without asterisks.
    """
    lines = response.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    texts = [response, *cut]
    return [*texts, *(text.replace("*", "") for text in texts)]


def _build(checker: Any, name: str, kwargs: Mapping[str, Any], prompt: str) -> Any:
    # The Hub's copy of the data names every argument and has null for those that do not apply.
    given = {key: value for key, value in kwargs.items() if value is not None}
    instruction = checker(name)
    instruction.build_description(**given)
    if "prompt" in (instruction.get_instruction_args() or {}):
        instruction.build_description(prompt=prompt)
    letter = given.get("letter")
    if name == "keywords:letter_frequency" and isinstance(letter, str) and len(letter) == 1:
        # lm-eval's copy replaces a character outside a-z ("#", "!": prompts 1122 and 1129) by a
        # letter drawn at random; google-research's current version counts the character.
        instruction._letter = letter.strip().lower()
    return instruction


def load_checkers(*, needs_punkt: bool) -> Mapping[str, Any]:
    """Instruction id -> checker class, with language detection made repeatable.

    Raises:
        EvaluationError: lm-eval, langdetect, nltk or immutabledict is not installed, or punkt_tab
            is needed and not in $NLTK_DATA nor in NLTK's own places.
    """
    with _LOADING:
        try:
            import langdetect
            import nltk
        except ImportError as error:
            raise EvaluationError(_cure(error)) from error
        # langdetect samples; without a seed the same text can get two languages.
        langdetect.DetectorFactory.seed = 0
        _add_nltk_data(nltk)
        if needs_punkt:
            _require_punkt(nltk)
        try:
            with _light_parents(), _no_download(nltk):
                registry = importlib.import_module(f"{_CHECKERS}.instructions_registry")
        except ImportError as error:
            raise EvaluationError(_cure(error)) from error
    checkers: Mapping[str, Any] = registry.INSTRUCTION_DICT
    return checkers


def _cure(error: ImportError) -> str:
    return f"ifeval needs a package that is not here: {error}\n{needs('eval')}"


def _add_nltk_data(nltk: ModuleType) -> None:
    # NLTK reads the variable once, at import; it may have been set since.
    for folder in filter(None, os.environ.get("NLTK_DATA", "").split(os.pathsep)):
        if folder not in nltk.data.path:
            nltk.data.path.insert(0, folder)


def _require_punkt(nltk: ModuleType) -> None:
    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError as error:
        raise EvaluationError(
            "ifeval counts sentences and words with NLTK's punkt_tab, which is not in $NLTK_DATA"
            f" ({os.environ.get('NLTK_DATA') or 'not set'}) nor in NLTK's own places.\n"
            "Put it at $NLTK_DATA/tokenizers/punkt_tab (python -m nltk.downloader punkt_tab;"
            " without internet, the wheel of llama-index-core carries it)."
        ) from error


@contextlib.contextmanager
def _light_parents() -> Iterator[None]:
    """Let `lm_eval.tasks.ifeval` be imported without running its parents.

    Their `__init__` imports the whole harness (datasets, evaluate, scikit-learn, …); the checkers
    need none of it. Already imported parents are left as they are.
    """
    added = []
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("No module named 'lm_eval'")
    root = next(iter(spec.submodule_search_locations))
    for name, path in (("lm_eval", root), ("lm_eval.tasks", os.path.join(root, "tasks"))):
        if name not in sys.modules:
            module = ModuleType(name)
            module.__path__ = [path]
            sys.modules[name] = module
            added.append(name)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


@contextlib.contextmanager
def _no_download(nltk: ModuleType) -> Iterator[None]:
    """The checkers download punkt_tab when they are imported; a job must not."""
    original = nltk.download
    nltk.download = lambda *args, **kwargs: False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        nltk.download = original  # type: ignore[attr-defined]


GRADER = InstructionGrader
