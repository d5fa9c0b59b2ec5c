"""One helper process for the whole session."""

from collections.abc import Iterator

import pytest

from .jobs import Processes


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    helper = Processes(tmp_path_factory.mktemp("jobs"))
    yield helper
    helper.close()
