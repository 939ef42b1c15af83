"""A trial that trains in seconds."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.runs import create_settings


@pytest.fixture
def settings() -> dict[str, Any]:
    """A trial's settings; each test has its own copy to change."""
    return create_settings()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded clips, shared by all tests."""
    return tmp_path_factory.mktemp("cache")
