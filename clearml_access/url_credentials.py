"""Credentials before the host in addresses: what a task printed may hold those of a package index. Pure."""

from __future__ import annotations

import re

HIDDEN = "***"

_WEB = re.compile(r"""(https?://)[^/\s"'<>?#]*@""", re.IGNORECASE)
_OTHER = re.compile(r"""(://)[^/\s"'<>?#:@]*:[^/\s"'<>?#]*@""")
"""On the web, a user without a password may be a token; elsewhere it is just a name."""


def hide(text: str) -> str:
    """Return a text with the credentials in its addresses hidden; a password may hold a bare `@`."""
    if "://" not in text or "@" not in text:
        return text
    return _OTHER.sub(rf"\1{HIDDEN}@", _WEB.sub(rf"\1{HIDDEN}@", text))
