"""Addresses as people write them: the root of the API, or a plain word that it is none."""

from __future__ import annotations

import pytest

from harness.config.endpoint import api_root


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("http://h:8000/v1", "http://h:8000/v1"),
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("http://h:8000", "http://h:8000"),
        ("http://h/v1/chat/completions", "http://h/v1"),
        ("http://h/v1/chat/completions/", "http://h/v1"),
        ("http://h/v1/completions", "http://h/v1"),
        ("http://h/v1/models", "http://h/v1"),
        ("https://h/api/v1", "https://h/api/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("HTTP://h/v1/responses", "http://h/v1"),
        ("http://h//", "http://h"),
    ],
)
def test_the_root_is_what_is_meant(given: str, root: str) -> None:
    assert api_root(given) == root


@pytest.mark.parametrize(
    "given",
    ["", "h:8000", "ftp://h/v1", "http://", "http://:80/v1", "http://u:p@h/v1", "http://h/v1?k=1",
     "http://h:99999/v1", "http://h:0/v1", "http://h:x/v1", "http://[::1/v1", "http://h /v1",
     "http://h/v1\n", "http://h/v1?", "http://h/v1#a", "http://u@h/v1", "http://\u0661/v1",
     "http://h:\u0661/v1", "http://h/a b", "http:h/v1", "//h/v1", "http://h\\v1"],
)  # fmt: skip
def test_what_is_no_address_is_told(given: str) -> None:
    with pytest.raises(ValueError, match="http://host/v1 or https://host/v1 is expected"):
        api_root(given)


def test_what_may_hold_a_key_is_not_repeated_and_the_cure_is_named() -> None:
    for given, cure in (
        ("http://me:hunter2@h/v1", "leave user and password out, and name the key's variable"),
        ("http://h/v1?api-key=hunter2", "leave out what follows '?'"),
        ("http://h/v1#hunter2", "leave out what follows '#'"),
    ):
        with pytest.raises(ValueError, match="without a key in it: ") as caught:
            api_root(given)
        assert str(caught.value).endswith(cure)
        assert "hunter2" not in str(caught.value)
