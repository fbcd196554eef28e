"""Pages without JavaScript: what can be seen can be used, and what a script draws says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from starlette.routing import Match
from tinyhtml5.parser import HTMLParser

from tests.unit.localserver.test_web_hostile import PATHS, SERVER, WORLD
from tests.unit.localserver.web_app import ask

SCRIPTED = "scripted-only"
"""Class of what is shown only where scripts run."""

BY_STYLE = "unfolds"
"""Class of a tick that needs neither a script nor a form: the style sheet shows what it unfolds."""

CONTROLS = ("button", "input", "select", "textarea")


def above(element: Element, parents: dict[Element, Element]) -> Iterator[Element]:
    """Yield an element and all that it lies in."""
    found: Element | None = element
    while found is not None:
        yield found
        found = parents.get(found)


def leads_somewhere(address: str, method: str) -> bool:
    """Return whether the application has a route for an address of its own."""
    path = address.partition("#")[0].partition("?")[0]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
    return any(route.matches(scope)[0] is Match.FULL for route in SERVER.app.routes)


def unusable(page: Element, path: str) -> list[str]:
    """Return what a person without scripts sees and cannot use."""
    parents = {child: parent for parent in page.iter() for child in parent}
    found = []
    for element in page.iter():
        chain = [*above(element, parents)]
        if any(SCRIPTED in item.get("class", "") or item.get("hidden") is not None for item in chain):
            continue
        form = next((item for item in chain if item.tag == "form"), None)
        if form is None and (named := element.get("form")):
            form = next((item for item in page.iter("form") if item.get("id") == named), None)
        words = f"{element.tag} {dict(element.attrib)}"
        if element.get("class") == BY_STYLE:
            continue
        if element.tag in CONTROLS and element.get("type") != "hidden" and form is None:
            found.append(f"in no form: {words}")
        if element.tag == "button" and form is not None:
            address = element.get("formaction") or form.get("action") or path
            method = (element.get("formmethod") or form.get("method") or "get").upper()
            if not leads_somewhere(address, method):
                found.append(f"leads to no {method} {address}: {words}")
        if element.tag == "a":
            address = element.get("href", "")
            if not address or (address.startswith("/") and not leads_somewhere(address, "GET")):
                found.append(f"leads nowhere: {words}")
        if element.tag == "form" and form is element:
            shown = [item for item in element.iter("button") if SCRIPTED not in item.get("class", "")]
            boxes = [item for item in element.iter() if item.tag in CONTROLS and item.get("type") != "hidden"]
            others = [item for item in page.iter("button") if item.get("form") == element.get("id", "-")]
            if not shown and not others and len(boxes) > 1:  # a form of one box is sent by Enter
                found.append(f"cannot be sent: {words}")
    drawn = [element for element in page.iter() if element.get("data-plotly")]
    if drawn and not any("JavaScript" in "".join(element.itertext()) for element in page.iter("noscript")):
        found.append("does not say that its figures need JavaScript")
    return found


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_what_is_shown_without_scripts_can_be_used(path: str) -> None:
    SERVER.world = WORLD
    reply = ask(SERVER.app, path)
    if not reply.headers.get("Content-Type", "").startswith("text/html"):
        return
    page = HTMLParser(namespace_html_elements=False).parse(reply.text)
    assert unusable(page, path.partition("?")[0]) == []
