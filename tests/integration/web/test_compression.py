"""What goes over the wire: pages and static files compressed, and not sent again where the browser has them."""

from __future__ import annotations

import re

import pytest

from tests.integration.web.pages import Web

pytestmark = pytest.mark.integration


def test_pages_and_static_files_are_compressed(web: Web) -> None:
    page = web.http.get("/", headers={"Accept-Encoding": "gzip"})
    assert (page.headers["Content-Encoding"], page.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert "</html>" in page.text
    script = re.search(r'src="(/static/app\.js\?v=[^"]+)"', page.text)
    assert script is not None
    for address in (script[1], "/static/plotly.min.js"):
        plain = web.http.get(address, headers={"Accept-Encoding": "identity"})
        packed = web.http.get(address, headers={"Accept-Encoding": "gzip, br"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.content == plain.content
        assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
        assert packed.headers["Content-Type"] == plain.headers["Content-Type"]


@pytest.mark.parametrize("encoding", ["gzip", "identity", "gzip;q=0"])
def test_what_the_browser_has_is_not_sent_again(web: Web, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    first = web.http.get("/static/app.css", headers=headers)
    again = web.http.get("/static/app.css", headers=headers | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert web.http.get("/static/app.css", headers=headers | {"If-None-Match": '"other"'}).status_code == 200
