"""Ids of sessions and challenges: positive, told apart by worker, never two of a kind."""

import pytest

from protocol.runtime.listen_settings import WORKERS_MAX
from protocol.runtime.session_ids import SESSION_ID_MAX, worker_of
from registry.wire.session_ids import SessionIds


@pytest.mark.parametrize("worker", [0, 1, 31, 32, WORKERS_MAX])
def test_an_id_is_positive_and_names_its_worker(worker: int) -> None:
    ids = SessionIds(worker)
    for _ in range(1_000):
        session_id = ids.allocate()
        assert 0 < session_id <= SESSION_ID_MAX
        assert worker_of(session_id) == worker


def test_no_id_is_given_twice_before_it_is_released() -> None:
    ids = SessionIds()
    given = {ids.allocate() for _ in range(20_000)}
    assert len(given) == len(ids) == 20_000
    for session_id in given:
        ids.release(session_id)
    assert len(ids) == 0


def test_ids_that_clients_make_up_name_no_worker_and_are_never_given_out() -> None:
    made_up = range(10_001, 10_001 + 100_000)  # as IDIS clients count
    assert {worker_of(session_id) for session_id in made_up} == {0}
    assert min(SessionIds().allocate() for _ in range(10_000)) > made_up[-1]


def test_a_negative_id_names_no_worker() -> None:
    assert worker_of(0xFFFF_FFFF) == 0
    assert worker_of(0x8000_0000) == 0
