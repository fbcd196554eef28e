"""Which page a browser acts for, by what it says of it: a foreign one must not use the session of a person.

Only browsers send these headers, and no page can change them; a program's request has none of them. Headers are given
as a mapping that finds a name in any case of letters.
"""

from __future__ import annotations

from collections.abc import Mapping


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent this request for a page of another origin (another port is another origin)."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and not is_origin_of(origin, headers.get("Host", ""))


def is_origin_of(origin: str, host: str) -> bool:
    """Return whether an `Origin` header names the server that a `Host` header names."""
    return origin in (f"http://{host}", f"https://{host}")


def is_opened(headers: Mapping[str, str]) -> bool:
    """Return whether a person follows a link: the answer becomes a page of its own, which no other page can read."""
    return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
