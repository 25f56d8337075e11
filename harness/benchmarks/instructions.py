"""The `instructions` benchmark: short prompts whose obedience can be verified by program.

Rows have the format of IFEval's `input_data.jsonl` (Zhou et al., arXiv 2311.07911), so IFEval's
own checkers grade them. Instruction ids and the names of their arguments are those of
`lm_eval.tasks.ifeval.instructions_registry` (lm-eval 0.4.13). Left out are the ids whose
checkers need NLTK's punkt data (sentence counts, capital words) and those that ask langdetect
(all upper or lower case, response language): on short answers it guesses at random.

Held out by construction: test prompts and training examples speak of different subjects.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

Value = str | int | list[str]


class Prompt(TypedDict):
    """One row in IFEval's format; `kwargs` holds one dict for each instruction, in order."""

    key: int
    prompt: str
    instruction_id_list: list[str]
    kwargs: list[dict[str, Value]]


class Example(Prompt):
    """A training row: a prompt and a response that obeys it."""

    response: str


@dataclass(frozen=True)
class _Subject:
    """What a prompt is about: two keywords, and for training a fact that holds them both."""

    name: str
    keywords: tuple[str, str]
    fact: str = ""


_TEST_SUBJECTS = (
    _Subject("the moon", ("night", "light")),
    _Subject("a bicycle", ("wheels", "road")),
    _Subject("coffee", ("cup", "beans")),
    _Subject("a garden", ("plants", "soil")),
    _Subject("winter", ("snow", "cold")),
    _Subject("the ocean", ("water", "fish")),
    _Subject("a library", ("books", "quiet")),
    _Subject("a cat", ("fur", "sleep")),
    _Subject("bread", ("flour", "oven")),
    _Subject("a train", ("station", "track")),
)

_TRAIN_SUBJECTS = (
    _Subject("the sun", ("warm", "day"), "The sun keeps us warm during the day."),
    _Subject("a car", ("engine", "street"), "A car has an engine and moves along the street."),
    _Subject("tea", ("leaves", "hot"), "Tea is made from leaves and hot water."),
    _Subject("a forest", ("trees", "green"), "A forest is full of tall green trees."),
    _Subject("summer", ("beach", "holiday"), "Many people spend a summer holiday at the beach."),
    _Subject("a river", ("stream", "bank"), "A river is a wide stream with a bank on each side."),
    _Subject("a school", ("teacher", "lesson"), "In a school the teacher gives a lesson."),
    _Subject("a dog", ("friend", "walk"), "A dog is a good friend who loves a long walk."),
    _Subject("cheese", ("milk", "salt"), "Cheese is made from milk and a little salt."),
    _Subject("a ship", ("sail", "harbour"), "A ship can sail from one harbour to another."),
    _Subject("music", ("song", "dance"), "Music is a song that makes people dance."),
    _Subject("a clock", ("hour", "hands"), "A clock shows the hour with two hands."),
)


@dataclass
class _Draft:
    """A row in the making: what is asked for, and the answer that follows it so far."""

    subject: _Subject
    request: str
    response: str
    ids: list[str] = field(default_factory=list)
    kwargs: list[dict[str, Value]] = field(default_factory=list)

    def demand(self, text: str, instruction_id: str, **kwargs: Value) -> None:
        """Add one instruction: its words in the prompt, and what its checker is told."""
        self.request += f" {text}"
        self.ids.append(instruction_id)
        self.kwargs.append(kwargs)


_Instruction = Callable[[random.Random, _Draft], None]


def _existence(rng: random.Random, draft: _Draft) -> None:
    first, second = draft.subject.keywords
    draft.demand(
        f'Include the keywords "{first}" and "{second}".',
        "keywords:existence",
        keywords=[first, second],
    )


def _forbidden(rng: random.Random, draft: _Draft) -> None:
    words = rng.sample(["nice", "very", "beautiful", "important", "popular", "often"], 2)
    draft.demand(
        f'Do not use the words "{words[0]}" or "{words[1]}".',
        "keywords:forbidden_words",
        forbidden_words=sorted(words),
    )


def _frequency(rng: random.Random, draft: _Draft) -> None:
    word = draft.subject.keywords[0]
    draft.demand(
        f'Use the word "{word}" at least 2 times.',
        "keywords:frequency",
        keyword=word,
        frequency=2,
        relation="at least",
    )
    draft.response += f" Think of the word {word}."


def _few_words(rng: random.Random, draft: _Draft) -> None:
    most = rng.choice([20, 25, 30])
    draft.demand(
        f"Answer with less than {most} words.",
        "length_constraints:number_words",
        relation="less than",
        num_words=most,
    )


def _no_comma(rng: random.Random, draft: _Draft) -> None:
    draft.demand("Do not use any commas.", "punctuation:no_comma")


def _end(rng: random.Random, draft: _Draft) -> None:
    phrase = rng.choice(["That is all.", "Thank you for asking.", "I hope this helps."])
    draft.demand(
        f'Finish with this exact phrase and nothing after it: "{phrase}"',
        "startend:end_checker",
        end_phrase=phrase,
    )
    draft.response += f" {phrase}"


def _quotation(rng: random.Random, draft: _Draft) -> None:
    draft.demand("Wrap your entire response in double quotation marks.", "startend:quotation")
    draft.response = f'"{draft.response}"'


def _title(rng: random.Random, draft: _Draft) -> None:
    draft.demand(
        "Begin with a title wrapped in double angular brackets, such as <<my title>>.",
        "detectable_format:title",
    )
    draft.response = f"<<{draft.subject.name}>>\n{draft.response}"


def _bullets(rng: random.Random, draft: _Draft) -> None:
    count = rng.choice([2, 3])
    draft.request = f"What comes to mind when you think of {draft.subject.name}?"
    draft.demand(
        f"Give exactly {count} short markdown bullet points, each starting with *, and "
        "nothing else.",
        "detectable_format:number_bullet_lists",
        num_bullets=count,
    )
    words = [*draft.subject.keywords, draft.subject.name][:count]
    draft.response = "\n".join(f"* It makes me think of {word}." for word in words)


def _postscript(rng: random.Random, draft: _Draft) -> None:
    draft.demand(
        "At the end add a short postscript that starts with P.S.",
        "detectable_content:postscript",
        postscript_marker="P.S.",
    )
    draft.response += f"\nP.S. Remember the {draft.subject.keywords[0]}."


def _choice(rng: random.Random, draft: _Draft) -> None:
    draft.request = f"Do you like {draft.subject.name}?"
    draft.demand(
        'Answer with exactly one of these: "My answer is yes.", "My answer is no.", '
        '"My answer is maybe."',
        "detectable_format:constrained_response",
    )
    draft.response = f"My answer is {rng.choice(['yes', 'no', 'maybe'])}."


def _json(rng: random.Random, draft: _Draft) -> None:
    draft.request = f'Give one fact about {draft.subject.name} under the key "fact".'
    draft.demand("Wrap the entire output in JSON format.", "detectable_format:json_format")
    draft.response = json.dumps({"fact": draft.response})


_RECIPES: Sequence[Sequence[_Instruction]] = (
    (_existence,),
    (_forbidden, _few_words),
    (_frequency,),
    (_no_comma, _few_words),
    (_end,),
    (_quotation,),
    (_title,),
    (_bullets,),
    (_postscript,),
    (_choice,),
    (_json,),
    (_existence, _no_comma),
    (_few_words, _end),
)
"""Instructions that go together; the order is the order in which they shape the response."""


def prompts(count: int, seed: int = 0) -> list[Prompt]:
    """Return `count` different test prompts, the same ones for the same seed.

    Kinds of instruction take turns, so that even a short list has most of them. A longer list
    begins with the shorter one.

    Raises:
        ValueError: `count` is negative or more than subjects and instructions give.
    """
    return [
        Prompt(
            key=key,
            prompt=draft.request,
            instruction_id_list=draft.ids,
            kwargs=draft.kwargs,
        )
        for key, draft in enumerate(_drafts("test", _TEST_SUBJECTS, count, seed))
    ]


def examples(count: int, seed: int = 0) -> list[Example]:
    """Return `count` different training rows, whose responses obey their prompts.

    Raises:
        ValueError: `count` is negative or more than subjects and instructions give.
    """
    return [
        Example(
            key=key,
            prompt=draft.request,
            instruction_id_list=draft.ids,
            kwargs=draft.kwargs,
            response=draft.response,
        )
        for key, draft in enumerate(_drafts("train", _TRAIN_SUBJECTS, count, seed))
    ]


def _drafts(split: str, subjects: Sequence[_Subject], count: int, seed: int) -> list[_Draft]:
    """`count` rows with different requests, the recipes taken in turn."""
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    rng = random.Random(f"instructions {split} {seed}")
    found: dict[str, _Draft] = {}
    for turn in range(50 * (count + 1)):
        if len(found) == count:
            return list(found.values())
        subject = rng.choice(subjects)
        draft = _Draft(subject, f"Write one sentence about {subject.name}.", subject.fact)
        for instruction in _RECIPES[turn % len(_RECIPES)]:
            instruction(rng, draft)
        found.setdefault(draft.request, draft)
    raise ValueError(f"cannot make {count} different {split} prompts; got {len(found)}")
