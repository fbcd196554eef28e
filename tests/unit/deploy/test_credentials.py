"""Server and keys: the environment first, then clearml.conf; what is missing is named."""

from __future__ import annotations

import pytest

from deploy.clearml import credentials
from deploy.errors import SettingsError

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


def test_the_environment_wins(conf):
    environ = {"CLEARML_CONFIG_FILE": str(conf), "CLEARML_API_HOST": "http://env:1", "CLEARML_API_SECRET_KEY": "other"}
    server = credentials.find(environ)
    assert (server.api, server.secret_key, server.source) == ("http://env:1", "other", "the environment")


def test_all_that_is_missing_is_named(tmp_path):
    (tmp_path / "c.conf").write_text("api { web_server: http://x }")
    with pytest.raises(SettingsError, match=r"CLEARML_API_HOST, CLEARML_FILES_HOST, CLEARML_API_ACCESS_KEY"):
        credentials.find({"CLEARML_CONFIG_FILE": str(tmp_path / "c.conf")})


@pytest.mark.parametrize("content", [None, "api { broken"])
def test_a_file_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "c.conf"
    if content:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"c\.conf"):
        credentials.find({"CLEARML_CONFIG_FILE": str(path)})
