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
    ],
)
def test_the_root_is_what_is_meant(given: str, root: str) -> None:
    assert api_root(given) == root


@pytest.mark.parametrize(
    "given",
    ["", "h:8000", "ftp://h/v1", "http://", "http://:80/v1", "http://u:p@h/v1", "http://h/v1?k=1",
     "http://h:99999/v1", "http://h:0/v1", "http://h:x/v1", "http://[::1/v1", "http://h /v1"],
)  # fmt: skip
def test_what_is_no_address_is_told(given: str) -> None:
    with pytest.raises(ValueError, match="http://host/v1 or https://host/v1 is expected"):
        api_root(given)
