"""Which proxy leads to an address: $HTTP_PROXY, $HTTPS_PROXY, $ALL_PROXY, not for $NO_PROXY.

One rule for every client of ours, since each library reads these variables in its own way.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from harness.errors import UserError


def proxy_for(url: str) -> str | None:
    """`http://proxy:port` for requests to a URL; None: they go straight there.

    What listens on this node's loopback is never asked through a proxy. Raises UserError for a
    proxy that does not speak HTTP.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(host):
        return None
    if proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return None
    scheme, separator, _ = proxy.partition("://")
    if not separator:
        return f"http://{proxy}"
    if scheme not in ("http", "https"):
        raise UserError(
            f"a {scheme} proxy leads to {host}, and only http:// and https:// proxies can be used "
            f"here: set {parts.scheme.upper()}_PROXY, or NO_PROXY={host}"
        )
    return proxy


def is_loopback(host: str) -> bool:
    """Whether a host name or an address is of this node alone."""
    if host.rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
