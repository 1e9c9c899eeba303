"""Ports: chosen in a free block, kept, and replaced one by one when a stranger took them."""

import pytest

from deploy.local.ports import FIRST_PORT, NoFreePort, Ports, choose, replace_taken

DAEMONS = ("root", "recursive")


def test_the_first_wholly_free_block_is_taken() -> None:
    chosen = choose(DAEMONS, free=lambda port: port != FIRST_PORT + 4)

    assert chosen == {
        "root": Ports(handle=FIRST_PORT + 20, http=FIRST_PORT + 21, admin=FIRST_PORT + 22),
        "recursive": Ports(handle=FIRST_PORT + 23, http=FIRST_PORT + 24, admin=FIRST_PORT + 25),
    }


def test_no_free_block_is_told() -> None:
    with pytest.raises(NoFreePort, match="no 6 neighbouring ports"):
        choose(DAEMONS, free=lambda port: False)


def test_only_the_port_that_a_stranger_took_moves() -> None:
    kept = choose(DAEMONS, free=lambda port: True)
    taken = kept["root"].http

    moved = replace_taken(kept, DAEMONS, free=lambda port: port != taken)

    assert moved["recursive"] == kept["recursive"]
    assert (moved["root"].handle, moved["root"].admin) == (kept["root"].handle, kept["root"].admin)
    assert moved["root"].http not in {number for ports in kept.values() for number in ports.numbers()}


def test_ports_of_a_running_daemon_are_its_own() -> None:
    kept = choose(DAEMONS, free=lambda port: True)

    moved = replace_taken(kept, ["root"], free=lambda port: port > kept["recursive"].admin)

    assert moved["recursive"] == kept["recursive"]
    assert not set(moved["root"].numbers()) & set(kept["recursive"].numbers())
    assert len(set(moved["root"].numbers())) == 3
