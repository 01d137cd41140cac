import pytest

pytest.register_assert_rewrite("engines.testing")
