"""Server and keys: the environment first, then clearml.conf; what is missing is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from clearml_access import credentials
from clearml_access.errors import ConfigurationError, NoCredentialsError

ROOT = Path(__file__).parents[3]

CONF = """
api {
    web_server: http://conf:8080
    api_server: "http://conf:8008/"
    files_server: http://conf:8081
    credentials { access_key: "AK", secret_key: "SK" }
}
"""


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "clearml.conf"
    path.write_text(CONF)
    return path


def test_the_file_is_read(conf):
    server = credentials.find({"CLEARML_CONFIG_FILE": str(conf)})
    assert (server.api, server.web, server.files) == ("http://conf:8008", "http://conf:8080", "http://conf:8081")
    assert (server.access_key, server.secret_key, server.source) == ("AK", "SK", str(conf))


def test_the_file_is_read_by_the_sdks_parser_without_importing_the_sdk(conf):
    """The whole SDK takes half a second, which every command would wait."""
    conf.write_text(CONF.replace('"http://conf:8008/"', "${HOST}"))  # a variable, as the SDK's parser replaces it
    script = """
import os, sys
from clearml_access import credentials
print(credentials.find(os.environ).api, "clearml" in sys.modules)
import clearml
from clearml.utilities.pyhocon import ConfigFactory
assert credentials.read_section(credentials.configuration_file(os.environ), "api") == (
    ConfigFactory.parse_file(os.environ["CLEARML_CONFIG_FILE"])["api"].as_plain_ordered_dict()
)
"""
    environ = {"CLEARML_CONFIG_FILE": str(conf), "HOST": "http://in.the.environment:8008", "HOME": str(conf.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["http://in.the.environment:8008", "False"]


def test_the_environment_wins(conf):
    environ = {"CLEARML_CONFIG_FILE": str(conf), "CLEARML_API_HOST": "http://env:1", "CLEARML_API_SECRET_KEY": "other"}
    server = credentials.find(environ)
    assert (server.api, server.secret_key, server.source) == ("http://env:1", "other", "the environment")


def test_all_that_is_missing_is_named(tmp_path):
    (tmp_path / "c.conf").write_text("api { web_server: http://x }")
    with pytest.raises(ConfigurationError, match=r"CLEARML_API_HOST, CLEARML_FILES_HOST, CLEARML_API_ACCESS_KEY"):
        credentials.find({"CLEARML_CONFIG_FILE": str(tmp_path / "c.conf")})


@pytest.mark.parametrize("content", [None, "api { broken"])
def test_a_file_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "c.conf"
    if content:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"c\.conf"):
        credentials.find({"CLEARML_CONFIG_FILE": str(path)})


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("api {\n credentials: prod { access_key: AK, secret_key: MYSECRET }\n}", "in line 2, column"),
        ("api {\n web_server: http://a credentials { access_key: AK, secret_key: MYSECRET }\n}", "in line 2, column"),
        ("api { secret_key: MYSECRET\n} } MYSECRET", "in line 2, column 3"),
        ("api { secret_key: ${MYSECRET} }", "in line 1, column"),
        ("api: MYSECRET", "ValueError"),
    ],
)
def test_a_malformed_file_does_not_show_its_keys(tmp_path, content, place):
    path = tmp_path / "c.conf"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=place) as refused:
        credentials.find({"CLEARML_CONFIG_FILE": str(path)})
    assert "MYSECRET" not in "".join(traceback.format_exception(refused.value))  # what --verbose prints


KEYS = {"CLEARML_API_ACCESS_KEY": "AK", "CLEARML_API_SECRET_KEY": "SK", "HOME": "/nowhere"}


@pytest.mark.parametrize(
    ("host", "web", "files"),
    [
        ("http://server:8008", "http://server:8080", "http://server:8081"),
        ("https://api.company.com", "https://app.company.com", "https://files.company.com"),
        ("", "https://app.clear.ml", "https://files.clear.ml"),
    ],
)
def test_addresses_follow_from_the_apis_as_in_the_sdk(host, web, files):
    server = credentials.find({**KEYS, "CLEARML_API_HOST": host})
    assert (server.web, server.files) == (web, files)


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "http://127.0.0.1:99999", "http://[::1"])
def test_what_is_not_an_address_is_named(conf, address):
    with pytest.raises(ConfigurationError, match=re.escape(f"CLEARML_API_HOST {address} is not an address")):
        credentials.find({**KEYS, "CLEARML_API_HOST": address})
    conf.write_text(CONF.replace("http://conf:8081", f'"{address}"'))
    with pytest.raises(ConfigurationError, match=re.escape(f"clearml.conf: files_server {address} is not an address")):
        credentials.find({"CLEARML_CONFIG_FILE": str(conf)})


@pytest.mark.parametrize("part", ["api", "web", "files"])
def test_an_address_without_a_scheme_is_refused(conf, part):
    variable, key = credentials.VARIABLES[part]
    words = r"=clearml\.example\.com:8008: an address begins with http:// or https://"
    with pytest.raises(ConfigurationError, match=f"^CLEARML_{variable}{words}"):
        credentials.find({"CLEARML_CONFIG_FILE": str(conf), f"CLEARML_{variable}": "clearml.example.com:8008"})
    conf.write_text(f'{CONF}api.{key}: "clearml.example.com:8008"')
    with pytest.raises(ConfigurationError, match=f"clearml\\.conf: {key}{words}"):
        credentials.find({"CLEARML_CONFIG_FILE": str(conf)})


def test_a_bucket_may_be_the_file_server_as_in_the_sdk(conf):
    assert credentials.find({"CLEARML_CONFIG_FILE": str(conf), "CLEARML_FILES_HOST": "s3://b"}).files == "s3://b"


def test_an_address_that_the_others_do_not_follow_from_is_named(tmp_path):
    own = tmp_path / "server/clearml.conf"
    own.parent.mkdir(parents=True)
    own.write_text(CONF)
    environ = {**KEYS, "CLEARML_API_HOST": "http://server:9008", "CLEARML_PODS_STATE": str(tmp_path)}
    with pytest.raises(
        NoCredentialsError, match=r"CLEARML_WEB_HOST, CLEARML_FILES_HOST not set.*http://server:9008"
    ) as refused:
        credentials.find(environ)
    assert refused.value.hint == "export CLEARML_WEB_HOST=https://… CLEARML_FILES_HOST=https://…"


def test_addresses_are_found_without_a_key_where_none_is_needed():
    environ = {"CLEARML_API_HOST": "http://server:8008", "HOME": "/nowhere"}
    found = credentials.find(environ, needs_key=False)
    assert (found.api, found.web, found.secret_key) == ("http://server:8008", "http://server:8080", "")
    assert credentials.find({"HOME": "/nowhere"}, needs_key=False).api == ""
    with pytest.raises(NoCredentialsError) as refused:
        credentials.find({**environ, "CLEARML_WEB_HOST": "http://w", "CLEARML_FILES_HOST": "http://f"})
    assert refused.value.hint == "export CLEARML_API_ACCESS_KEY=… CLEARML_API_SECRET_KEY=…"


def test_a_variable_that_names_no_file_is_an_error_and_no_other_server(tmp_path):
    environ = {"HOME": str(tmp_path), "CLEARML_CONFIG_FILE": "/nowhere/c.conf"}
    assert credentials.is_configured(environ)
    with pytest.raises(ConfigurationError, match=r"CLEARML_CONFIG_FILE=/nowhere/c\.conf is not a file"):
        credentials.find(environ)


def test_the_sdks_old_names_count_and_a_token_needs_no_keys():
    server = credentials.find({"TRAINS_API_HOST": "http://s:8008", "CLEARML_AUTH_TOKEN": "T", "HOME": "/nowhere"})
    assert (server.api, server.token, server.secret_key) == ("http://s:8008", "T", "")
    assert credentials.is_configured({"TRAINS_API_HOST": "http://s:8008", "HOME": "/nowhere"})


@pytest.mark.parametrize(("text", "checked"), [("0", False), ("false", False), ("True", True), ("", True)])
def test_the_check_of_the_certificate_can_be_switched_off(text, checked):
    assert credentials.find({**KEYS, "CLEARML_API_HOST_VERIFY_CERT": text}).verify is checked


def test_the_home_of_the_environment_counts(conf):
    assert credentials.find({"HOME": str(conf.parent)}).access_key == "AK"
    assert credentials.is_configured({"HOME": str(conf.parent)})


def test_no_key_shows_itself():
    assert "SK" not in repr(credentials.find({**KEYS, "CLEARML_AUTH_TOKEN": "SK token"}))


def test_where_no_server_is_configured_the_hint_is_the_one_that_this_machine_runs(tmp_path):
    environ = {"HOME": str(tmp_path), "CLEARML_PODS_STATE": str(tmp_path / "my state")}
    with pytest.raises(NoCredentialsError) as refused:
        credentials.find(environ)
    assert refused.value.hint.startswith("clearml-init; or ")
    own = tmp_path / "my state/server/clearml.conf"
    own.parent.mkdir(parents=True)
    own.write_text(CONF)
    with pytest.raises(NoCredentialsError) as refused:
        credentials.find(environ)
    assert refused.value.hint == f"for this machine's own server: export CLEARML_CONFIG_FILE='{own}'"


def test_a_section_is_plain_also_where_the_file_nests_and_refers(tmp_path):
    conf = tmp_path / "clearml.conf"
    conf.write_text(
        'key: "K"\nsdk.aws.s3 { key: ${key}, region: null, credentials: [ {bucket: "b"} ] }\n', encoding="utf-8"
    )
    found = credentials.read_section(conf, "sdk")
    assert json.loads(json.dumps(found)) == {
        "aws": {"s3": {"key": "K", "region": None, "credentials": [{"bucket": "b"}]}}
    }
    assert credentials.read_section(conf, "agent") == {}
