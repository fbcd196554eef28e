"""The Kubernetes API as JSON over HTTP, through the official client. The only module that imports `kubernetes`.

Objects go in and come out as the JSON that Kubernetes serves; vendor errors stop here. Every call has a deadline, and
none is repeated for ever. It must not know what the objects mean: cluster.py and lease.py do.

Outside systems: the kubeconfig, the Kubernetes API server.
"""

from __future__ import annotations

import binascii
import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from clearml_access.errors import parse_error
from deploy.errors import AdmissionError, ClusterError, ClusterUnreachableError, KubeconfigError, RightsError
from deploy.settings import Settings

TIMEOUT_S = 15.0

DEFAULT = "~/.kube/config"
"""The kubeconfig where none is named."""

ANY = "application/json, */*"
"""What an answer may be where nothing else is asked for."""

STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
"""A patch that is the whole object as one party wants it: what it no longer wants goes. JSON is YAML."""

Json = dict[str, Any]


class NotFoundError(ClusterError):
    """There is no such object."""


class ConflictError(ClusterError):
    """The object is there already, or changed meanwhile."""


@dataclass(frozen=True)
class Access:
    """Which cluster we talk to, and how we know."""

    context: str
    server: str
    source: str
    user: str


class KubernetesApi:
    """The API server of one kubeconfig context, as its user sees one namespace."""

    def __init__(self, settings: Settings) -> None:
        self.namespace = settings.namespace
        self.access, self._client = _connect(settings)

    def path(self, kind: str, name: str = "", *, group: str = "") -> str:
        """Return where a kind of objects, or one of them, is served."""
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def get(self, path: str) -> Json | None:
        """Return an object; None if there is none."""
        try:
            return self.call("GET", path)
        except NotFoundError:
            return None

    def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = ANY,
        patch: str = STRATEGIC,
    ) -> Json:
        """Make one call; return its answer. `patch` is the type of a PATCH.

        Raises:
            ClusterUnreachableError: No answer, or a server's error.
            RightsError: The user lacks a permission.
            NotFoundError: There is no such object.
            ConflictError: It is there already, or changed meanwhile.
            ClusterError: Refused for any other reason.
        """
        response = self._send(method, path, body, query, stream=False, timeout=TIMEOUT_S, accept=accept, patch=patch)
        return cast("Json", json.loads(response.data or b"{}"))

    def date(self) -> str:
        """Return the API server's clock, as its answers carry it."""
        return str(self._send("GET", "/version", None, None, stream=False, timeout=TIMEOUT_S).headers.get("Date") or "")

    def stream(self, path: str, query: Mapping[str, str], timeout: float | None) -> Iterator[str]:
        """Yield an answer's lines as they come; `timeout` is for each of them.

        Raises:
            ClusterError: As `call`; or the connection broke.
        """
        response = self._send("GET", path, None, query, stream=True, timeout=timeout)
        rest = b""
        try:
            for chunk in response.stream(amt=None, decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnreachableError(f"the connection to {self.access.server} broke: {error}") from error
        finally:
            response.release_conn()
            response.close()

    def _send(
        self,
        method: str,
        path: str,
        body: Json | None,
        query: Mapping[str, str] | None,
        *,
        stream: bool,
        timeout: Any,
        accept: str = ANY,
        patch: str = STRATEGIC,
    ) -> Any:
        kind = patch if method == "PATCH" else "application/json"
        if method == "PATCH" and "/leases/" in path:
            kind = "application/merge-patch+json"
        headers = {"Accept": accept, "Content-Type": kind}
        auth = ["BearerToken"]
        method, url, headers, sent, _ = self._client.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params=headers, body=body, auth_settings=auth
        )
        try:
            answer = self._client.call_api(method, url, headers, sent, _request_timeout=(TIMEOUT_S, timeout)).response
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise ClusterUnreachableError(
                f"Kubernetes API {self.access.server} (context {self.access.context}) does not answer: {_short(error)}",
                hint="kubectl cluster-info; is the cluster up (./task cluster-status), is it the right context?",
            ) from error
        if answer.status >= 400:
            raise self._refused(method, path, answer.status, answer.data)
        return answer

    def _refused(self, method: str, path: str, status: int, raw: bytes) -> ClusterError:
        try:
            # Anything but a Status may be a proxy's page; of any text only the start, it could hold what was sent.
            message = str(json.loads(raw).get("message") or status)[:400]
        except (ValueError, AttributeError):
            message = f"HTTP {status}"
        if status == 404:
            return NotFoundError(message)
        if status == 409:
            return ConflictError(message)
        if _is_admission(status, message):
            return AdmissionError(
                f"namespace {self.namespace} does not admit it: {message}",
                hint="./task doctor shows what the namespace enforces; change the values, or ask its administrator",
            )
        if status == 401:
            return RightsError(
                f"{self.access.server} does not accept the credentials of context {self.access.context} "
                f"({self.access.source}): {message}; they may have expired",
                hint="log in to the cluster again, or get a new kubeconfig from its administrator",
            )
        if status == 403:
            return RightsError(
                f"permission denied (context {self.access.context}): {message}",
                hint=f"kubectl auth can-i --list -n {self.namespace}; ask the cluster's administrator",
            )
        if status >= 500:
            return ClusterUnreachableError(f"Kubernetes API {self.access.server} answered {status}: {message}")
        return ClusterError(f"Kubernetes answered {status} to {method} {path}: {message}")


def _is_admission(status: int, message: str) -> bool:
    """Return whether the rules for objects refuse one; what a user may not do is also a 403."""
    if "admission webhook" in message or "ValidatingAdmissionPolicy" in message:
        return status < 500
    rights = re.search(r'[Uu]ser "[^"]*"( \(groups=.*\))? (cannot|is attempting)', message)
    return status == 403 and " is forbidden: " in message and not rights


def _connect(settings: Settings) -> tuple[Access, client.ApiClient]:
    configuration = client.Configuration()
    configuration.retries = False
    try:
        contexts, current = config.list_kube_config_contexts(settings.kubeconfig)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        if settings.kubeconfig is None:
            with suppress(ConfigException):
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
                return Access("in-cluster", configuration.host, "service account", ""), client.ApiClient(configuration)
        raise KubeconfigError(
            _unusable(settings.kubeconfig, error),
            hint="export KUBECONFIG=…; ./task cluster-up makes a cluster and prints the line",
        ) from error
    except OSError as error:
        raise KubeconfigError(f"kubeconfig {settings.kubeconfig} cannot be read: {_short(error)}") from error
    except yaml.YAMLError as error:
        raise KubeconfigError(f"kubeconfig {settings.kubeconfig} cannot be read: {parse_error(error)}") from None
    except Exception:  # what the client meets in a file of another form
        raise KubeconfigError(
            f"{settings.kubeconfig} is not a kubeconfig: it has no clusters, users and contexts",
            hint="export KUBECONFIG=… with the file that kubectl uses",
        ) from None
    names = [context["name"] for context in contexts]
    if settings.context and settings.context not in names:
        raise KubeconfigError(
            f"kubeconfig {settings.kubeconfig or DEFAULT} has no context {settings.context}",
            hint=f"--context {' or '.join(names)}",
        )
    chosen = next((context for context in contexts if context["name"] == settings.context), current)
    try:
        config.load_kube_config(settings.kubeconfig, chosen["name"], configuration, persist_config=False)  # type: ignore[no-untyped-call]
        _require_certificates(configuration)
    except (binascii.Error, ssl.SSLError) as error:
        what = "not PEM" if isinstance(error, ssl.SSLError) else "not base64"
        raise KubeconfigError(
            f"context {chosen['name']} cannot be used: a certificate or key of it is {what} ({_short(error)})",
            hint=f"kubectl config view --minify --context {chosen['name']}; write its …-data entries again",
        ) from None
    # The client takes a kubeconfig's form for granted.
    except (ConfigException, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise KubeconfigError(f"context {chosen['name']} cannot be used: {_short(error)}") from None
    configuration.retries = False
    access = Access(
        context=str(chosen["name"]),
        server=str(configuration.host),
        source=str(settings.kubeconfig or DEFAULT),
        user=str(chosen["context"].get("user", "")),
    )
    return access, client.ApiClient(configuration)


def _require_certificates(configuration: client.Configuration) -> None:
    """Read the certificates now: a call would report a spoilt one as a server that does not answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the default one reads all of the system's authorities too
    if configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)


def _unusable(kubeconfig: str | None, error: ConfigException) -> str:
    """Return what is wrong: the client says the same of a file that is missing and of one that is empty."""
    if kubeconfig is None and not Path(DEFAULT).expanduser().is_file():
        return f"there is no kubeconfig: KUBECONFIG is not set, and {DEFAULT} does not exist"
    if kubeconfig and not any(Path(name).expanduser().is_file() for name in kubeconfig.split(os.pathsep) if name):
        return f"kubeconfig {kubeconfig} does not exist"
    return f"kubeconfig {kubeconfig or DEFAULT} cannot be used: {_short(error)}"


def _short(error: object) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).splitlines()[0][:300] if str(reason) else type(error).__name__
