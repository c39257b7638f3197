"""The tests; the helpers that they share say what an assertion compared, as the tests do."""

import pytest

pytest.register_assert_rewrite("tests.support")
