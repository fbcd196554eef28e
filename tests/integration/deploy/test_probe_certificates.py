"""What a probe says of a server behind a company's own authority: it trusts what its pod's variables name."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_access.errors import ServerUnreachableError
from deploy.verification import probe

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1 that nobody trusts by itself, and its key."""
    folder = tmp_path_factory.mktemp("authority")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-subj", "/CN=company", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    argv += ["-keyout", str(folder / "server.key"), "-out", str(folder / "ca.crt")]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def url(authority: Path) -> Iterator[str]:
    """A server with that certificate."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "ca.crt", authority / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def ask(url: str, **env: str) -> object:
    """Run the probe's script as a pod with these variables does."""
    argv = [sys.executable, "-c", probe.SCRIPT, json.dumps({"api": url})]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout.removeprefix(probe.MARK))["api"]


def test_without_the_authority_the_message_names_the_certificate(url):
    said = ask(url)
    assert "CERTIFICATE_VERIFY_FAILED" in str(said)
    seen = probe.Seen("image", "3.11", said, None, None, 1.0)
    with pytest.raises(ServerUnreachableError, match="does not trust") as caught:
        probe.require_reachable(seen, url)
    assert "REQUESTS_CA_BUNDLE" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authority_that_a_variable_names_is_trusted(url, authority, name):
    assert ask(url, **{name: str(authority / "ca.crt")}) == 200


def test_a_check_that_is_switched_off_is_off(url):
    assert ask(url, CLEARML_API_HOST_VERIFY_CERT="false") == 200


def test_a_server_that_is_away_is_not_called_untrusted():
    seen = probe.Seen("image", "3.11", "[Errno 111] Connection refused", None, None, 1.0)
    with pytest.raises(ServerUnreachableError, match="cannot be reached from a pod"):
        probe.require_reachable(seen, "https://127.0.0.1:1/")
