from __future__ import annotations

import pytest
from clouds_support import SERVERS, Cloud


@pytest.fixture(params=sorted(SERVERS))
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return Cloud(request.getfixturevalue(SERVERS[request.param]))
