"""What is acknowledged together is added up as a plain loop would, whatever was added up before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hubbub.perspective.tallies import items_of, tally_of
from hubbub.wire.deliveries import Encoded, encoded
from hubbub.wire.session import Answer, Delivery, End, Gap, Item, MindCall, Result

_DELIVERIES: list[Delivery] = [
    *(Item(0, stream_id, Raw(b"1" * size)) for stream_id in (1, 2) for size in (1, 40, 40_000)),
    *(Result(0, call_id, "7", Raw(b'"done"')) for call_id in (1, 2)),
    Answer(0, 1, "7", value=Raw(b"[]")),
    End(0, 1),
    End(0, 2),
    Gap(0, 1, "lag"),
    MindCall(0, 1, "look", Raw(b"[]"), Raw(b"{}")),
]
_POOL = [encoded(delivery, "json") for delivery in _DELIVERIES]
_RUNS = st.lists(st.lists(st.sampled_from(_POOL), max_size=8), max_size=6)


def _items(run: list[Encoded]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in run:
        if entry.kind is Item:
            found.setdefault(entry.id, []).append(entry.cost)
    return found


@given(_RUNS, st.integers(1, 3))
def test_the_sum_is_that_of_these_entries(runs: list[list[Encoded]], times: int) -> None:
    for run in runs:
        for _ in range(
            times
        ):  # many sessions acknowledge the same ones, each with a list of its own
            tally = tally_of(list(run))
            assert tally.size == sum(entry.cost for entry in run)
            assert list(tally.calls) == [entry.id for entry in run if entry.kind is Result]
            assert list(tally.ended) == [entry.id for entry in run if entry.kind is End]
            assert {stream_id: (count, size) for stream_id, count, size in tally.items} == {
                stream_id: (len(costs), sum(costs)) for stream_id, costs in _items(run).items()
            }
            for stream_id in (1, 2):
                costs = _items(run).get(stream_id, [])
                assert items_of(run, stream_id) == (len(costs), sum(costs))
