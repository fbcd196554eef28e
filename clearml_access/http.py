"""Calls to a ClearML server by plain HTTP, without the SDK: quick to import, and it reads no configuration by itself.

Every call ends: 3 s to connect, 30 s to answer. What certainly did not reach the server is sent again, twice; an
answer that was lost, or is that of another call, is asked for again only where the call changes nothing. Connections
are this process's own: a forked process opens others, since two that read from one get each other's answers.
Certificates and proxies are those of the SDK: `requests` reads the same variables. Outside system: a ClearML server's
HTTP API.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from clearml_access import own_server
from clearml_access.credentials import Server
from clearml_access.errors import CredentialsError, ServerUnreachableError

if TYPE_CHECKING:
    import requests

TIMEOUT_S = (3.05, 30.0)
"""To connect, and for an answer."""

PAUSES_S = (0.3, 0.6)
"""Before the second and the third try."""

PATIENT_PAUSES_S = (*PAUSES_S, 1.2, 2.4, *(5.0,) * 35)
"""Those of a task's process: it outlives a restart of its server, as the SDK in it does."""

AWAY = (502, 503, 504)
"""What a proxy says for a server that is away."""

BUSY = 429

_READS = re.compile(r"\w+\.(get_|ping$|info$|login$)\w*")


class HttpSender:
    """Sends calls to one server with one access key."""

    def __init__(self, server: Server, *, direct: bool = False, patient: bool = False) -> None:
        """Take a server.

        Args:
            server: The server and the key.
            direct: It is on this machine: proxies are for the internet.
            patient: Try again for minutes, not for a second.
        """
        self._server = server
        self._direct = direct
        self._pauses = PATIENT_PAUSES_S if patient else PAUSES_S
        self._token = server.token
        self._lock = threading.Lock()
        self._sessions: dict[int, requests.Session] = {}
        """By process."""

    @property
    def url(self) -> str:
        """Address of the API."""
        return self._server.api

    def send(self, endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a call as the key's user; return the answer's status and body.

        Raises:
            ServerUnreachableError: There is no answer, or it is not a ClearML server's.
            CredentialsError: The server refuses the key.
        """
        if not self._token:
            self.login()
        status, answer = self.post(endpoint, body, f"Bearer {self._token}")
        if status == 401 and self._server.secret_key:
            self.login()  # a token ages; the key may still be good
            status, answer = self.post(endpoint, body, f"Bearer {self._token}")
        if status == 401:
            raise self._refused(answer)
        return status, answer

    def login(self) -> str:
        """Log in with the key; return the token.

        Raises:
            ServerUnreachableError: There is no answer, or it is not a ClearML server's.
            CredentialsError: The server refuses the key.
        """
        pair = f"{self._server.access_key}:{self._server.secret_key}"
        status, answer = self.post("auth.login", {}, f"Basic {base64.b64encode(pair.encode()).decode()}")
        token = (answer.get("data") or {}).get("token")
        if status != 200 or not token:
            raise self._refused(answer)
        self._token = str(token)
        return self._token

    def post(self, endpoint: str, body: dict[str, Any], authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Send a call with an authorization of one's own, or none."""
        import requests  # a tenth of a second, which `--help` need not wait for

        headers = {"Content-Type": "application/json", "X-ClearML-Client": "clearml-pods"}
        if authorization:
            headers["Authorization"] = authorization
        url = f"{self._server.api}/{endpoint}"
        for pause in (*self._pauses, None):
            try:
                reply = self._opened().post(
                    url, data=json.dumps(body), headers=headers, timeout=TIMEOUT_S, verify=self._server.verify
                )
            except (requests.ConnectionError, requests.Timeout) as error:
                if pause is None or not _may_repeat(endpoint, error):
                    raise self._silent(cause(error)) from error
                time.sleep(pause)
                continue
            except (requests.RequestException, ValueError) as error:  # not an address, a header that breaks, …
                raise self._silent(cause(error)) from error
            away = reply.status_code in AWAY or reply.status_code == BUSY
            if not away:
                try:
                    return reply.status_code, self._parsed(endpoint, reply)
                except ServerUnreachableError:
                    self._forget_connections()
                    if pause is None or not _READS.fullmatch(endpoint):
                        raise
                    time.sleep(pause)
                    continue
            if pause is None or not (_READS.fullmatch(endpoint) or reply.status_code in (BUSY, 503)):
                raise self._silent(f"{reply.status_code} {reply.reason}")
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _opened(self) -> requests.Session:
        import requests
        import urllib3

        with self._lock:
            session = self._sessions.get(os.getpid())
            if session is None:
                session = self._sessions[os.getpid()] = requests.Session()
                session.trust_env = not self._direct
                if not self._server.verify:
                    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it would come with each call
                # A login sets a cookie, which a server could take for the authorization of a later call.
                session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            return session

    def _forget_connections(self) -> None:
        """Use none of the connections again: the next answer on one may be another call's too."""
        with self._lock:
            self._sessions.pop(os.getpid(), None)

    def _parsed(self, endpoint: str, reply: requests.Response) -> dict[str, Any]:
        try:
            body = reply.json()
            answered = body["meta"].get("endpoint")
            named = answered.get("name") if isinstance(answered, dict) else None
            if named and named != endpoint:
                raise ServerUnreachableError(
                    f"{self.url} answered {endpoint} with the reply to {named}",
                    hint="check the proxy in front of it, then run the command again",
                )
        except (ValueError, AttributeError, TypeError, KeyError):
            raise ServerUnreachableError(
                f"{self.url} is not a ClearML API server: it answers {reply.status_code} without ClearML's JSON",
                hint="name the API's address (port 8008, or https://api.…), not the web page's",
            ) from None
        return dict(body)

    def _silent(self, cause: str) -> ServerUnreachableError:
        certificate = "certificate" in cause.lower()
        return ServerUnreachableError(
            f"ClearML server {self.url} does not answer: {cause}",
            hint="REQUESTS_CA_BUNDLE=<your company's certificates>, or CLEARML_API_HOST_VERIFY_CERT=0"
            if certificate
            else self._how_to_answer(),
        )

    def _how_to_answer(self) -> str:
        own = own_server.configuration(own_server.state_folder(os.environ))
        return "./task server-up" if self._server.source == str(own) else f"curl {self.url}/debug.ping"

    def _refused(self, answer: dict[str, Any]) -> CredentialsError:
        key = f"the access key {self._server.access_key[:4]}…" if self._server.access_key else "the token"
        return CredentialsError(
            f"ClearML server {self.url} refuses {key} from {self._server.source}: {answer['meta'].get('result_msg')}",
            hint="make a new key in the server's web pages (Settings, Workspace), then: clearml-init",
        )


def pings(api_url: str, timeout_s: float = 1.0) -> bool:
    """Return whether a ClearML API on this machine answers at `api_url`."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{api_url}/debug.ping", timeout=timeout_s).status_code == 200
        except (requests.RequestException, ValueError):
            return False


def _may_repeat(endpoint: str, error: requests.RequestException) -> bool:
    """Return whether a call can be sent again: it never arrived, or it changes nothing."""
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, requests.exceptions.SSLError | requests.ReadTimeout):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    never_arrived = isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)
    return never_arrived or _READS.fullmatch(endpoint) is not None


def cause(error: BaseException) -> str:
    """Return the innermost reason of a network error, without the library's wrapping."""
    text = str(error)
    found = re.search(r"(Connection refused|Name or service not known|No route to host|timed out|certificate .*)", text)
    return (found[1] if found else text.splitlines()[0] if text else type(error).__name__)[:200]
