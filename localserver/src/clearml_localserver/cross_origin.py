"""Protection against cross-site requests: a page of another origin must not use a person's session.

The checks read `Sec-Fetch-*` and `Origin`. Only browsers send these headers, and pages cannot change them; requests of
other programs lack them. Callers pass the headers as a case-insensitive mapping.
"""

from __future__ import annotations

from collections.abc import Mapping


def is_cross_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent this request for a page of another origin; another port is another origin."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and not is_origin_of(origin, headers.get("Host", ""))


def is_origin_of(origin: str, host: str) -> bool:
    """Return whether an `Origin` header names the server that a `Host` header names."""
    return origin in (f"http://{host}", f"https://{host}")


def is_navigation(headers: Mapping[str, str]) -> bool:
    """Return whether the request opens a page in a tab (a followed link): no other page can read the response."""
    return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
