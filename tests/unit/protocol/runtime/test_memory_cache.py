"""The table in memory: expiry, order of use, and both bounds."""

from protocol.runtime.memory_cache import MemoryCache

FOREVER_S = 1e9


def cache(*, entries: int = 3, octets: int = 1_000) -> MemoryCache[str]:
    return MemoryCache(entries_max=entries, octets_max=octets)


def test_an_entry_is_gone_from_the_second_in_which_it_expires() -> None:
    table = cache()
    table.put(b"a", "one", octets=10, expires_s=5.0)

    assert table.get(b"a", 4.999) == "one"
    assert table.get(b"a", 5.0) is None
    assert (len(table), table.octets) == (0, 0)


def test_the_least_recently_used_entry_makes_room() -> None:
    table = cache()
    for key in (b"a", b"b", b"c"):
        table.put(key, "x", octets=1, expires_s=FOREVER_S)
    table.get(b"a", 0)
    table.put(b"d", "x", octets=1, expires_s=FOREVER_S)

    assert [key for key in (b"a", b"b", b"c", b"d") if table.get(key, 0)] == [b"a", b"c", b"d"]
    assert table.evictions == 1


def test_octets_are_bounded_keys_included() -> None:
    table = cache(octets=100)
    table.put(b"a", "x", octets=59, expires_s=FOREVER_S)
    table.put(b"b", "x", octets=40, expires_s=FOREVER_S)

    assert table.get(b"a", 0) is None
    assert table.octets == 41


def test_an_entry_larger_than_the_table_is_not_kept_and_evicts_nothing() -> None:
    table = cache(octets=100)
    table.put(b"a", "x", octets=10, expires_s=FOREVER_S)
    table.put(b"huge", "x", octets=100, expires_s=FOREVER_S)

    assert table.get(b"a", 0) == "x"
    assert table.get(b"huge", 0) is None


def test_a_replaced_entry_gives_its_octets_back() -> None:
    table = cache()
    for octets in (500, 20):
        table.put(b"a", "x", octets=octets, expires_s=FOREVER_S)

    assert table.octets == 21
    table.clear()
    assert (len(table), table.octets) == (0, 0)
