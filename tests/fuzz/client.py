"""Sends fuzzed requests to a live server and says what is wrong with an answer."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
import httpx
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.registry import ENDPOINTS, add_endpoint_schemas
from clearml_localserver.request_schemas import RequestSchemas
from clearml_localserver.web import PAGES

from tests.api_client import ApiClient
from tests.fuzz.values import EVENT, Values
from tests.fuzz.world import World

ANSWER_S = 30.0
"""A request that has no answer after this hangs."""

RENEW = 250
"""After so many requests there are new objects."""

CLIENTS = 4
PAGES_OF = 8
"""The pages of so many objects of a kind are looked at."""

VERSIONS = ["", "v1.0", "v1.5", "v2.0", "v2.3", "v2.9", "v2.13", "v2.23", "v2.34", "v2.35", "v3.0", "v999.999", "v0.0"]
MODES = {"json": 20, "query": 2, "form": 1, "lines": 1, "broken": 1}

LEFT_OUT = {"auth.revoke_credentials", "auth.logout", "login.logout", "auth.edit_user", "users.delete"}
"""They would lock the fuzzer out."""


@dataclass(frozen=True)
class Request:
    """One request, as it can be sent again."""

    number: int
    endpoint: str
    method: str
    target: str
    body: bytes
    content_type: str

    def shown(self) -> str:
        """Return it in one line, cut to a readable length."""
        body = self.body.decode(errors="replace")
        return f"#{self.number} {self.method} {self.target[:300]} {self.content_type} {body[:1500]}"


@dataclass
class Fuzzer:
    """A run of requests that the seed decides."""

    server: ClearmlServer
    seed: int
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api = ApiClient(self.server.api_url, self.server.credentials)
        self._world = World(self._api, self.seed)
        schemas = RequestSchemas.load()
        add_endpoint_schemas(schemas)
        self._schemas = {name: schemas.known_schema(name) for name in ENDPOINTS}
        self._names = sorted(ENDPOINTS.keys() - LEFT_OUT)
        self._lock = threading.Lock()
        self._next = itertools.count()

    def run(self, requests: int) -> list[str]:
        """Send so many requests; return what was wrong."""
        self._world.renew()
        with ThreadPoolExecutor(CLIENTS) as clients:
            for client in [clients.submit(self._send_all, requests) for _ in range(CLIENTS)]:
                client.result()
        self._look_at_pages()
        self._still_serves()
        self._api.close()
        return self.problems

    def _send_all(self, requests: int) -> None:
        client = Client(self.server.api_url, str(self._api.http.headers["Authorization"]))
        while True:
            with self._lock:
                number = next(self._next)
                if number >= requests or len(self.problems) > 20:
                    return
                if number and number % RENEW == 0:
                    self._world.renew()
                request = self.request(number)
            problem, reply = client.send(request)
            if problem:
                self.problems.append(f"{problem}\n  {request.shown()}")
            self._world.learn(reply)

    def request(self, number: int) -> Request:
        """Return request `number`: the seed and the number decide all of it but the ids of objects."""
        chance = random.Random(f"{self.seed}/{number}")
        # Each endpoint has its turn; the seed decides what it is asked.
        name = self._names[number % len(self._names)]
        version = chance.choice(VERSIONS) if chance.random() < 0.2 else "v2.23"
        target = f"/{version}/{name}" if version else f"/{name}"
        mode = chance.choices(list(MODES), list(MODES.values()))[0]
        if ENDPOINTS[name].json_lines:
            mode = chance.choice(["lines", "lines", "lines", mode])
        schema = EVENT if name in ("events.add", "events.add_batch") else self._schemas[name]
        ids = partial(self._world.of, service=name.partition(".")[0])
        bodies = [Values(chance, schema, ids).body() for _ in range(chance.choice([1, 2, 5]))]
        body, content_type = json.dumps(bodies[0]).encode(), "application/json"
        if mode == "lines":
            body, content_type = b"\n".join(json.dumps(each).encode() for each in bodies), "application/json-lines"
        elif mode in ("query", "form"):
            pairs = urlencode({key: _text(value) for key, value in bodies[0].items()}, errors="replace")
            body = pairs.encode() if mode == "form" else b""
            content_type = "application/x-www-form-urlencoded" if mode == "form" else ""
            target += f"?{pairs[:4000]}" if mode == "query" else ""
        elif mode == "broken":
            body = chance.choice(
                [body[: len(body) // 2], b"[]", b"null", b'"x"', b"\xff\xfe", b"NaN", body + b"}", b" "]
            )
            target += quote(chance.choice(["", "/", "/x", "?", "//"]), safe="/?")
        return Request(number, name, chance.choice(["POST", "POST", "GET"]), target, body, content_type)

    def _look_at_pages(self) -> None:
        """Open every page of the objects as they are now: what the API has taken, the pages must show."""
        newest = {kind: ids[-PAGES_OF:] for kind, ids in self._world.ids.items()}
        with httpx.Client(base_url=self.server.web_url, timeout=ANSWER_S, trust_env=False) as browser:
            for path in PAGES:
                names = re.findall(r"\{(\w+)[:}]", path)
                for ids in zip(*(newest.get(name, ["publish"]) for name in names), strict=False) if names else [()]:
                    address = re.sub(r"\{(\w+)(:path)?\}", "{}", path).format(*(quote(id, safe="") for id in ids))
                    status = browser.get(address).status_code
                    if status >= 500:
                        self.problems.append(f"status {status}: page {address}")

    def _still_serves(self) -> None:
        if self.server.process.poll() is not None:
            self.problems.append(f"the server has ended with exit code {self.server.process.returncode}")
            return
        try:
            task = self._api("tasks.create", name="after all that", type="testing")["id"]
            self._api("tasks.get_by_id", task=task)
        except AssertionError as error:
            self.problems.append(f"the server does not serve as before: {error}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Client:
    """One connection at a time, and the judgement of what comes back."""

    def __init__(self, url: str, authorization: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 0)
        self._authorization = authorization

    def send(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Send a request; return what is wrong with the answer, or an empty text, and the reply's data."""
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_S)
        headers = {"Authorization": self._authorization}
        if request.content_type:
            headers["Content-Type"] = request.content_type
        try:
            connection.request(request.method, request.target, body=request.body, headers=headers)
            reply = connection.getresponse()
            return judged(reply.status, reply.getheader("Content-Type", ""), reply.read())
        except TimeoutError:
            return f"no answer within {ANSWER_S:.0f} s", {}
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error!r}", {}
        finally:
            connection.close()


def judged(status: int, content_type: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return what is wrong with an answer (a fault of the server, an unreadable envelope), and its data."""
    if status >= 500:
        return f"status {status}: {body[:300].decode(errors='replace')}", {}
    if not content_type.startswith("application/json"):
        return "", {}
    try:
        reply = json.loads(body)
    except ValueError:
        return f"status {status}, not JSON: {body[:300]!r}", {}
    meta, data = (reply.get("meta"), reply.get("data")) if isinstance(reply, dict) else (None, None)
    if not isinstance(meta, dict) or not isinstance(data, dict):
        return f"status {status}, no envelope: {body[:300]!r}", {}
    shape = {"id": str, "trx": str, "endpoint": dict, "result_code": int, "result_subcode": int, "result_msg": str}
    wrong = [name for name, kind in shape.items() if not isinstance(meta.get(name), kind)]
    if wrong or meta["result_code"] != status:
        return f"status {status}, wrong in the envelope: {wrong or meta['result_code']}", {}
    return "", data
