from __future__ import annotations

import pytest

pytest.register_assert_rewrite("matrix_support", "matrix_pages")

from matrix_support import Endpoints  # noqa: E402


@pytest.fixture(scope="session")
def endpoints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Endpoints:
    """Locations of every type; a server is started when the first location on it is asked for."""
    return Endpoints(tmp_path_factory.mktemp("matrix"), request.getfixturevalue)
