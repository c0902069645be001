from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.client import application
from tests.conformance.client.serving import Serving


@pytest.fixture(params=["tcp", "unix"])
def serving(request: pytest.FixtureRequest, tmp_path) -> Iterator[Serving]:
    """The application, listening."""
    address = "127.0.0.1:0" if request.param == "tcp" else str(tmp_path / "hub.sock")
    served = Serving(application.make_hub(), address)
    yield served
    served.close()
