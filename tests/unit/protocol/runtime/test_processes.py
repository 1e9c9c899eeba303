"""How long the supervisor waits before it starts a child again."""

from protocol.runtime.processes import FIRST_DELAY_S, MAX_DELAY_S, STEADY_S, Backoff


def test_each_quick_end_doubles_the_wait_up_to_a_bound() -> None:
    backoff = Backoff()
    delays = [backoff.delay_after(0.1) for _ in range(12)]
    assert delays[:3] == [FIRST_DELAY_S, FIRST_DELAY_S * 2, FIRST_DELAY_S * 4]
    assert delays[-1] == MAX_DELAY_S


def test_a_steady_run_starts_anew_with_the_shortest_wait() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay_after(0.1)
    assert backoff.delay_after(STEADY_S) == FIRST_DELAY_S
