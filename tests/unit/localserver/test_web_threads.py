"""Every page is made on a thread: the event loop belongs to agents, API and files too."""

from __future__ import annotations

import asyncio
import re
from typing import cast

import pytest
from clearml_localserver import web
from clearml_localserver.auth import Identity
from clearml_localserver.web.site import Site, Visit
from clearml_localserver.wire import Api
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.unit.localserver.web_app import FakeApi, ask, make_app

TABLES = {"GET": ("OPEN_PAGES", "PAGES"), "POST": ("OPEN_CHANGES", "OWN_CHANGES", "CHANGES")}


def nothing(name: str, data: dict[str, object]) -> dict[str, object]:
    return {}


def on_the_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_every_address_has_its_view_in_a_table_that_is_run_on_threads() -> None:
    listed = {(method, path) for method, names in TABLES.items() for name in names for path in getattr(web, name)}
    routes = [route for route in make_app(nothing).routes if isinstance(route, Route)]
    found = {("POST" if "POST" in (route.methods or ()) else "GET", route.path) for route in routes}
    assert found == listed


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_view_runs_on_the_loop(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, bool] = {}

    def probe(visit: Visit) -> Response:
        seen[visit.request.url.path] = on_the_loop()
        visit.call("queues.get_all", {})
        return PlainTextResponse("seen")

    paths = [path for name in TABLES[method] for path in getattr(web, name)]
    for name in TABLES[method]:
        monkeypatch.setattr(web, name, dict.fromkeys(getattr(web, name), probe))
    app = make_app(nothing)
    for path in paths:
        assert ask(app, re.sub(r"\{\w+(:path)?\}", "x", path), method).text == "seen", path
    assert len(seen) == len({re.sub(r"\{\w+(:path)?\}", "x", path) for path in paths})
    assert not any(seen.values())


def test_the_page_for_a_missing_address_is_made_on_a_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    render = Visit.render

    def probe(visit: Visit, template: str, **values: object) -> Response:
        seen.append(on_the_loop())
        return render(visit, template, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(Visit, "render", probe)
    assert ask(make_app(nothing), "/no/such/page").status_code == 404
    assert ask(make_app(nothing), "/no/such/page", "POST").status_code == 404
    assert seen == [False, False]


def test_a_view_that_ran_on_the_loop_could_not_call_the_api() -> None:
    site = Site(cast(Api, FakeApi(nothing)), Identity("user", "company"), PlainTextResponse("file"))
    visit = Visit(site, Request({"type": "http"}), b"", site.own)

    async def on_loop() -> None:
        visit.call("queues.get_all", {})

    with pytest.raises(RuntimeError, match="worker thread"):
        asyncio.run(on_loop())


def test_a_form_with_too_many_fields_is_refused_and_one_with_many_is_read() -> None:
    sizes: list[int] = []

    def reply(name: str, data: dict[str, object]) -> dict[str, object]:
        sizes.append(len(str(data.get("name"))))
        return {}

    app = make_app(reply)
    many = "&".join(f"field{i}=x" for i in range(10_000))
    assert ask(app, "/queues", "POST", content=f"{many}&name=four").status_code == 303
    assert sizes == [4]
    refused = ask(app, "/queues", "POST", content="a&" * 30_000)
    assert refused.status_code == 413
    assert "at most" in refused.text
