"""A data folder that SDKs filled, of the present schema, for each test anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clearml_localserver.store import Store

from tests.old_folder import unpack


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    data = tmp_path_factory.mktemp("filled") / "data"
    ids = unpack(data)
    Store(data / "server.sqlite").close()  # brings the schema up to date
    return data, ids


@pytest.fixture
def data(filled: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled[0], tmp_path / "data"))


@pytest.fixture
def ids(filled: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return filled[1]
