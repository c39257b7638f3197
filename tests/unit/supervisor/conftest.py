from collections.abc import Iterator

import pytest
from hypothesis.configuration import set_hypothesis_home_dir


@pytest.fixture(autouse=True, scope="module")
def leave_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep out of the checkout what hypothesis stores also without a database: constants of our code."""
    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
    yield
    set_hypothesis_home_dir(None)
