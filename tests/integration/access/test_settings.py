"""The settings pages, as admins, users and readers meet them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.access.clients import client_of, new_key, new_user
from tests.integration.web.pages import HOSTILE, Web

pytestmark = pytest.mark.integration


@pytest.fixture
def as_(server: ClearmlServer) -> Iterator[Callable[[tuple[str, str]], Web]]:
    """Make a browser in which somebody has logged in with a key."""
    with ExitStack() as made:

        def log_in(key: tuple[str, str]) -> Web:
            web = Web(server.web_url)
            made.enter_context(closing(web.http))
            assert web.post("/login", access_key=key[0], secret_key=key[1]).status_code == 303
            return web

        yield log_in


LogIn = Callable[[tuple[str, str]], Web]


def make_key(web: Web, **form: str) -> tuple[str, str]:
    """Make a key on the page; return it as the page shows it this once."""
    made = web.post("/settings/keys", **form)
    assert made.status_code == 303, made.text[-3000:]
    reply = web.http.get(made.headers["Location"])
    assert reply.status_code == 200 and reply.headers["Cache-Control"] == "no-store"
    found = re.search(r"access_key\" = \"(\w+)\", \"secret_key\" = \"(\w+)\"", html.unescape(reply.text))
    assert found is not None and found[1], reply.text[-3000:]
    assert found[2] not in made.headers["Location"]
    again = web.get(made.headers["Location"])
    assert found[2] not in again and "was shown once" in again
    return found[1], found[2]


def test_an_admin_manages_people_and_their_keys(server: ClearmlServer, admin: ApiClient, as_: LogIn) -> None:
    web = as_(server.credentials)
    email = f"{uuid4().hex}@example.com"
    assert web.post("/settings/people", name=HOSTILE, email=email, role="user").status_code == 303
    person = next(user["id"] for user in admin("users.get_all_ex")["users"] if user["name"] == HOSTILE)
    assert HOSTILE not in web.get("/settings")
    key = make_key(web, label="theirs", user=person, role="guest")
    assert key[1] not in web.get("/settings") and "theirs" in web.get("/settings")
    with closing(client_of(server, key)) as client:
        assert client("users.get_current_user")["user"]["role"] == "guest"
        assert web.post(f"/settings/keys/{key[0]}/edit", label="renamed", role="user").status_code == 303
        assert client("users.get_current_user")["user"]["role"] == "user"
        assert web.post(f"/settings/people/{person}/edit", name="Jo", role="guest").status_code == 303
        me = client("users.get_current_user")["user"]
        assert (me["name"], me["role"]) == ("Jo", "guest")
    assert "Their 1 access key" in web.get(f"/settings/people/{person}/delete")
    assert web.post(f"/settings/people/{person}/delete").status_code == 303
    keys = admin("auth.get_credentials", all_users=True)["credentials"]
    assert key[0] not in {item["access_key"] for item in keys}
    refused = web.post("/settings/people", name="Kim", email="not an address", role="user")
    assert refused.status_code == 400 and "“not an address” is not an e-mail address" in refused.text
    assert 'value="Kim"' in refused.text


def test_a_new_key_is_shown_to_its_maker_only_and_a_reload_makes_no_second_one(
    server: ClearmlServer, admin: ApiClient, as_: LogIn
) -> None:
    web, other = as_(server.credentials), as_(new_key(admin, user=new_user(admin, "user")))
    before = len(admin("auth.get_credentials", all_users=True)["credentials"])
    shown = web.post("/settings/keys", label="once").headers["Location"]
    assert "Your new access key" not in other.get(shown)
    assert "Your new access key" in web.get(shown) and "Your new access key" not in web.get(shown)
    assert len(admin("auth.get_credentials", all_users=True)["credentials"]) == before + 1


def test_a_user_manages_their_own_keys_only(server: ClearmlServer, admin: ApiClient, as_: LogIn) -> None:
    user = new_user(admin, "user")
    other, own = new_key(admin)[0], new_key(admin, user=user)
    web = as_(own)
    page = web.get("/settings")
    assert own[0] in page and other not in page and server.credentials[0] not in page
    assert "Admins see and manage all people" in page and "/settings/people/" + user in page
    key = make_key(web, label="second", role="guest")
    assert web.post("/settings/keys", user=admin("users.get_current_user")["user"]["id"]).status_code == 403
    assert web.post("/settings/keys", role="admin").status_code == 403
    assert web.post("/settings/people", name="Kim", email=f"{uuid4().hex}@example.com").status_code == 403
    assert web.post(f"/settings/people/{user}/edit", name="New name", role="admin").status_code == 400
    assert web.post(f"/settings/people/{user}/edit", name="New name").status_code == 303
    assert "New name" in web.get("/settings")
    for change in ("edit", "revoke"):
        web.get(f"/settings/keys/{other}/{change}", status=404)
    assert web.post(f"/settings/keys/{other}/revoke").status_code in (400, 404)
    assert web.post(f"/settings/keys/{key[0]}/revoke").status_code == 303
    assert key[0] not in web.get("/settings")
    question = web.get(f"/settings/keys/{own[0]}/revoke")
    assert "this session ends too" in question and "autofocus>Cancel" in question


def test_a_reader_sees_settings_and_sets_only_the_look(server: ClearmlServer, admin: ApiClient, as_: LogIn) -> None:
    key = new_key(admin, user=new_user(admin, "guest"))
    web = as_(key)
    page = web.get("/settings")
    assert key[0] in page and str(server.data) in page and "retention" in page and "clearml-localserver " in page
    assert set(re.findall(r'method="post"[^>]* action="([^"]*)"', page)) == {"/logout", "/preferences/theme"}
    assert "/edit" not in page and "/revoke" not in page
    web.get(f"/settings/keys/{key[0]}/edit", status=403)
    assert web.post("/preferences/theme", theme="dark").status_code == 303


def test_the_theme_is_kept_for_the_person_in_every_browser(admin: ApiClient, as_: LogIn) -> None:
    key = new_key(admin, user=new_user(admin, "user"))
    first = as_(key)
    assert 'media="(prefers-color-scheme: dark)"' in first.get("/queues")
    first.post("/preferences/theme", theme="dark")
    for web in (first, as_(key)):
        page = web.get("/queues")
        assert 'content="dark"' in page and "dark.css" in page and 'media="(prefers' not in page
    first.post("/preferences/theme", theme="light")
    assert "dark.css" not in first.get("/queues") and 'content="light"' in first.get("/queues")
    first.post("/preferences/theme", theme='"><script>')
    assert 'content="light dark"' in first.get("/queues")
