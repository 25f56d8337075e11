"""Proxies of the environment: for servers elsewhere, never for this node's loopback."""

from __future__ import annotations

import pytest

from harness.errors import UserError
from harness.processes.proxies import is_loopback, proxy_for

PROXY = "http://proxy:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_proxy_requests_go_straight() -> None:
    assert proxy_for("https://api.example.com/v1") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_server_elsewhere_is_asked_through_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, PROXY)
    assert proxy_for("https://api.example.com/v1") == PROXY


def test_each_scheme_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")  # as curl takes it
    assert proxy_for("http://node7:8000/v1") == PROXY
    assert proxy_for("https://node7:8000/v1") is None


@pytest.mark.parametrize(
    ("exempt", "url", "straight"),
    [
        ("example.com", "https://api.example.com/v1", True),
        (".example.com", "https://api.example.com/v1", True),
        ("api.example.com:443", "https://api.example.com:443/v1", True),
        ("api.example.com:444", "https://api.example.com:443/v1", False),
        ("other.com, 10.0.0.1", "https://10.0.0.1/v1", True),
        ("ple.com", "https://example.com/v1", False),
        ("*", "https://example.com/v1", True),
    ],
)
def test_no_proxy_is_kept_to(
    monkeypatch: pytest.MonkeyPatch, exempt: str, url: str, straight: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    assert (proxy_for(url) is None) is straight


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "0.0.0.0"])
def test_loopback_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    assert proxy_for(f"http://{host}:8000/v1") is None
    assert is_loopback(host.strip("[]"))
    assert not is_loopback("127.example.com")


def test_a_proxy_that_speaks_no_http_is_told_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(UserError, match=r"a socks5 proxy leads to h.*NO_PROXY=h"):
        proxy_for("https://h/v1")
