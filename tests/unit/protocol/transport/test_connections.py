"""Connection counts."""

from protocol.transport.connections import ConnectionCount


def test_neighbours_share_their_places_and_leaving_frees_one() -> None:
    count = ConnectionCount(per_source_max=2)
    assert count.enter("192.0.2.1") is None
    assert count.enter("192.0.2.2") is None
    assert count.enter("192.0.2.3") == "connections_per_source"
    assert count.enter("198.51.100.1") is None
    count.leave("192.0.2.1")
    assert count.enter("192.0.2.3") is None
    assert count.total == 3


def test_all_sources_together_are_bounded() -> None:
    count = ConnectionCount(total_max=2)
    assert [count.enter(f"10.0.{number}.1") for number in range(3)] == [None, None, "connections"]
    for number in range(2):
        count.leave(f"10.0.{number}.1")
    assert count.total == 0
    assert not count._sources
