from pathlib import Path

import pytest
import torch
from run_folders import write_device_run, write_run

from offramp.data import Task, task
from offramp.report._files import Files


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The machine may be busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Task:
    return task("digits")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, digits: Task) -> Path:
    """The folder of a whole run; tests read it only."""
    return write_run(tmp_path_factory.mktemp("run"), digits)


@pytest.fixture(scope="session")
def device_run(tmp_path_factory: pytest.TempPathFactory, digits: Task) -> Path:
    """The folder of a run on a device; tests read it only."""
    return write_device_run(tmp_path_factory.mktemp("device"), digits)


@pytest.fixture(scope="session")
def files(run: Path) -> Files:
    return Files.read(run)
