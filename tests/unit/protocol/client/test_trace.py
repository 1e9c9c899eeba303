"""Hops as people and programs read them."""

import json

from protocol.client.resolution import Purpose
from protocol.client.trace import Hop, format_hops, hop_to_json

HOPS = (
    Hop(purpose=Purpose.PREFIX, service="", server="", asked="0.NA/88", rc=1, cached=True),
    Hop(
        purpose=Purpose.PREFIX,
        service="0.NA/88",
        server="127.0.0.1:2641 UDP",
        asked="0.NA/88.100",
        rc=None,
        elapsed_s=1.5,
        cause="no answer in time",
    ),
    Hop(
        purpose=Purpose.HANDLE,
        service="0.NA/88.100",
        server="127.0.0.1:26410 TCP",
        asked="88.100/pump-7",
        rc=100,
        site_serial=3,
        version=(2, 11),
        elapsed_s=0.00123,
    ),
    Hop(
        purpose=Purpose.HANDLE,
        service="0.NA/88.100",
        server="127.0.0.1:26410 TCP",
        asked="88.100/pump-8",
        rc=1,
        site_serial=3,
        version=(2, 11),
        elapsed_s=0.00123,
        ttl_s=86_400,
    ),
)


def test_hops_stand_in_aligned_columns() -> None:
    lines = format_hops(HOPS).splitlines()

    assert lines == [
        "hop  asked                for            purpose  answer                serial  version  cache for       time",
        "1    (cached)             0.NA/88        prefix   1 success",
        "2    127.0.0.1:2641 UDP   0.NA/88.100    prefix   no answer                                         1500.0 ms",
        "     no answer in time",
        "3    127.0.0.1:26410 TCP  88.100/pump-7  handle   100 handle_not_found  3       2.11                   1.2 ms",
        "4    127.0.0.1:26410 TCP  88.100/pump-8  handle   1 success             3       2.11     86400 s       1.2 ms",
    ]


def test_no_hops_are_no_text() -> None:
    assert format_hops([]) == ""


def test_names_from_strangers_cannot_steer_the_terminal() -> None:
    hop = Hop(purpose=Purpose.HANDLE, service="", server="s", asked="88/\x1b[2J\nx", rc=None, cause="a\x07b")

    assert "\x1b" not in format_hops([hop])
    assert len(format_hops([hop]).splitlines()) == 3
    assert "\x07" not in format_hops([hop])


def test_a_very_long_name_is_shortened() -> None:
    hop = Hop(purpose=Purpose.HANDLE, service="", server="s", asked="88/" + "x" * 2_000, rc=1)

    assert max(len(line) for line in format_hops([hop]).splitlines()) < 200


def test_a_hop_is_json_without_what_is_not_known() -> None:
    assert json.loads(json.dumps(hop_to_json(HOPS[2]))) == {
        "purpose": "handle",
        "service": "0.NA/88.100",
        "server": "127.0.0.1:26410 TCP",
        "asked": "88.100/pump-7",
        "responseCode": 100,
        "responseName": "handle_not_found",
        "siteSerial": 3,
        "protocolVersion": "2.11",
        "elapsedMs": 1.23,
        "cached": False,
    }
    assert "responseCode" not in hop_to_json(HOPS[1])
    assert hop_to_json(HOPS[3])["ttl"] == 86_400
    assert hop_to_json(HOPS[1])["cause"] == "no answer in time"
