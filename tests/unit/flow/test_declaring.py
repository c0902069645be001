"""What a component says of its boxes."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.flow import Declared, box
from hubbub.flow.declaring import declared
from hubbub.kernel import GraphError


def test_a_line_of_meaning_is_enough() -> None:
    assert declared({"inbox": "events"}) == {"inbox": Declared("events")}
    assert declared({"inbox": box("events", items=3, when_full="latest")})["inbox"].items == 3


@pytest.mark.parametrize(
    "options, text",
    [
        ({"items": 0}, "at least 1 item, not 0"),
        ({"limit_bytes": 0}, "at least 1 byte, not 0"),
        ({"when_full": "lose"}, "no policy 'lose' for a full box; there are wait, fail, latest"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options: Any, text: str) -> None:
    with pytest.raises(GraphError, match=text):
        box(**options)
