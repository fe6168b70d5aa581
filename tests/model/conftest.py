"""A saved network to damage, for the tests of the manifest."""

import shutil
from pathlib import Path

import pytest

from popstream.model.manifest import Network, save
from tests.networks import random_network


@pytest.fixture(scope="module")
def network() -> Network:
    return random_network(3, shortcut="avgpool", channels=(4, 6))


@pytest.fixture(scope="module")
def saved(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(network, tmp_path_factory.mktemp("saved")).parent


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(saved, tmp_path / "net")
    return tmp_path / "net"
