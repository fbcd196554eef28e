"""What the tests of the web pages share: a browser without a screen, and tasks."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import unquote

import httpx

from tests.api_client import ApiClient

HOSTILE = "<script>alert('name')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;name&#39;)&lt;/script&gt;"
FROM_PAGE = {"Sec-Fetch-Site": "same-origin"}
NO_ID = "0" * 32


class Web:
    """A browser without a screen: reads pages, sends forms as our own pages do."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Accept": "text/html"}, timeout=30, trust_env=False)

    def get(self, path: str, status: int = 200, **kwargs: Any) -> str:
        reply = self.http.get(path, **kwargs)
        assert reply.status_code == status, (path, reply.status_code, reply.text[-600:])
        assert rows_beyond_the_head(reply.text) == [], path
        return reply.text

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.http.post(path, data=form, headers=FROM_PAGE)


def rows_beyond_the_head(page: str) -> list[str]:
    """Return the rows that have more or fewer cells than their table's head: they change the width of its columns."""
    found = []
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        rows = re.findall(r"<tr\b.*?</tr>", table, re.DOTALL)
        if "<thead" in table:
            found += [row[:300] for row in rows if _cells(row) != _cells(rows[0])]
    return found


def _cells(row: str) -> int:
    cells = re.findall(r"<t[hd]\b[^>]*>", row)
    return sum(int(span[1]) if (span := re.search(r'colspan="(\d+)"', cell)) else 1 for cell in cells)


def filled(page: str, action: str) -> dict[str, str]:
    """Return the form whose address begins with `action`, as a browser would send it if nobody touched it."""
    form = page[page.index(f'<form method="post" action="{action}') :]
    form = form[: form.index("</form>")]
    fields = re.findall(r'<input(?! type="checkbox")[^>]*? name="([^"]*)" value="([^"]*)"', form)
    fields += re.findall(r'<input type="checkbox" name="([^"]*)" value="([^"]*)"[^>]* checked', form)
    for name, options in re.findall(r'<select[^>]*? name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        fields += [(name, value) for value in re.findall(r'<option value="([^"]*)" selected', options)]
    fields += re.findall(r'<textarea[^>]*? name="([^"]*)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL)
    return {html.unescape(name): re.sub("\r?\n", "\r\n", html.unescape(value)) for name, value in fields}


def summary(page: str) -> list[tuple[str, str]]:
    """Return what the summary above a refused form links to, and what it says; each link leads to an element."""
    box = page[page.index('<div class="problem" role="alert">') :]
    box = box[: box.index("</div>")]
    found = re.findall(r'<li>(?:<a href="#([^"]*)">)?(.*?)</li>', box)
    for target, _ in found:
        assert not target or f'id="{html.escape(unquote(target))}"' in page, target
    return [(unquote(target), html.unescape(text.replace("</a>", ""))) for target, text in found]


def focused(page: str) -> list[str]:
    """Return the ids of the elements that ask for the focus."""
    return re.findall(r'<(?:input|textarea|select)[^>]*? id="([^"]*)"[^>]*? autofocus', page)


def make_task(api: ApiClient, name: str = "task", **fields: Any) -> str:
    return str(api("tasks.create", name=name, type=fields.pop("type", "training"), **fields)["id"])


def status_of(api: ApiClient, task: str) -> str:
    return str(api("tasks.get_by_id", task=task)["task"]["status"])
