"""A YAML text as its writer means it, with the place of each key; what is no such text is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.reading.source import MAX_VALUES, dump, parse_value, read_source
from harness.errors import UserError


def source_of(folder: Path, text: str) -> Any:
    path = folder / "f.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return read_source(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        source_of(folder, text)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-5", 2e-5), ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-7", -7), ("1_000", 1000),
        ("0", 0), ("24:00:00", "24:00:00"), ("1:30", "1:30"), ("007", "007"), ("0x1F", "0x1F"),
        ("2026-01-31", "2026-01-31"), ("2026-01-31 12:00:00", "2026-01-31 12:00:00"),
        ("=", "="), (".inf", ".inf"), (".nan", ".nan"), ("1\u0662", "1\u0662"), ("\u0662", "\u0662"),
        ("true", True), ("off", False), ("null", None), ("~", None), ("'5'", "5"), ("!!str 5", "5"),
        ("[1, [a]]", [1, ["a"]]), ("{}", {}), ("|\n  a\n", "a\n"),
    ],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(text: str, value: object) -> None:
    found = parse_value(text, "here")
    assert (found, type(found)) == (value, type(value))


def test_a_key_is_the_word_that_was_written(tmp_path: Path) -> None:
    source = source_of(tmp_path, "on: 1\n5: 2\nnull: 3\n2026-01-31: 4\nyes:\n  no: 5\n")
    assert source.data == {"on": 1, "5": 2, "null": 3, "2026-01-31": 4, "yes": {"no": 5}}
    assert source.place(("yes", "no")) == f"{tmp_path}/f.yaml:6"
    assert source.place(("yes", "no", "deeper")) == f"{tmp_path}/f.yaml:6"


def test_what_is_merged_in_gives_way_to_what_stands_there(tmp_path: Path) -> None:
    text = "base: &b\n  x: 1\n  y: 2\nmine:\n  y: 3\n  <<: *b\nboth:\n  <<: [{x: 5}, *b]\n"
    source = source_of(tmp_path, text)
    assert source.data["mine"] == {"x": 1, "y": 3}
    assert source.data["both"] == {"x": 5, "y": 2}
    assert source.place(("mine", "x")) == f"{tmp_path}/f.yaml:2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 1e999\n", "f.yaml:2: b: the number is too large (got 1e999)"),
        ("a: 9223372036854775808\n", "f.yaml:1: a: the number is too large"),
        (f"a: {'9' * 5000}\n", "f.yaml:1: a: the number is too large"),
        ("a:\n  - !!binary aGVsbG8=\n", "f.yaml:2: a.0: the tag !!binary is not known here"),
        ("a: !!timestamp 2026-01-31\n", "f.yaml:1: a: the tag !!timestamp is not known here"),
        ("a: !!set {x, y}\n", "f.yaml:1: a: the tag !!set is not known here"),
        ("a: !!python/name:os.system\n", "f.yaml:1: a: the tag !!python/name:os.system is not"),
        ("a: !!int many\n", "f.yaml:1: a: the number is too large (got many)"),
        ("a: &a [*a]\n", "f.yaml:1: a.0: it is nested too deeply, holds itself, or is too large"),
        ("a: {<<: 5}\n", "f.yaml:1: a.<<: a mapping, or a list of them, is expected"),
        ("? [a]\n: 1\n", "f.yaml:1: a key must be a word"),
        ("a: 1\nb: {c: 1, c: 2}\n", "f.yaml:2: b.c: given twice"),
        ('a: 1\n"b\\n": {c: "\\ud800"}\n', "f.yaml:2: b\\n.c: it has half of a surrogate pair"),
        ("a: b\nc: \x07\n", "f.yaml:2: not valid YAML: the character U+0007 in it"),
        ("a: [1\nb: }", "f.yaml:2:"), ("a: 1\n---\nb: 2\n", "f.yaml:2:"),
        ("- a\n", "f.yaml:1: a mapping (`key: value` lines) is expected"),
        ("[" * 1500, "f.yaml: not valid YAML: nested too deeply"),
        (f"a: {'[' * 90}{']' * 90}", "f.yaml:1: a.0.0.0.0.0.0.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    told = refused(tmp_path, text)
    assert told.startswith(words)
    assert "\n" not in told


def test_a_few_lines_do_not_become_millions_of_values(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert MAX_VALUES < 10**9
    assert "too large" in refused(tmp_path, "\n".join(lines))


def test_a_file_that_cannot_be_read_says_why_and_names_itself_once(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"a: caf\xe9\n")
    for path, why in ((file, "it is not UTF-8 text (byte 7)"), (tmp_path, "Is a directory"),
                      (tmp_path / "no", "No such file or directory")):  # fmt: skip
        with pytest.raises(UserError) as caught:
            read_source(path)
        assert str(caught.value) == f"{path}: cannot be read: {why}"


def test_a_mistake_on_the_command_line_is_told_at_its_option() -> None:
    for text, words in (("{a: [", "not valid YAML"), ("1e999", "the number is too large"),
                        ("{a: {b: !!set {}}}", "a.b: the tag !!set")):  # fmt: skip
        with pytest.raises(UserError) as caught:
            parse_value(text, f"--set x={text}")
        assert str(caught.value).startswith(f"--set x={text}: {words}")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe"))
    | st.sampled_from(
        ["1e5", "1.5e3", "2026-01-31", "24:00", "yes", "~", "=", "<<", ".inf", "a\nb"]
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_what_is_written_reads_back_as_the_same(value: object) -> None:
    found = parse_value(dump({"a": value}), "here")["a"]
    assert (found, type(found)) == (value, type(value))
