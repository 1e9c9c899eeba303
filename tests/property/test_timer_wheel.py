"""The timer wheel agrees with a list that is sorted at every look."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from protocol.transport.timer_wheel import TICKS_PER_S, TimerWheel

SECONDS = st.floats(min_value=0, max_value=10, allow_nan=False)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), SECONDS),
        st.tuples(st.just("end"), st.integers(0, 20)),
        st.tuples(st.just("look"), SECONDS),
    ),
    max_size=60,
)


@given(STEPS)
def test_what_is_due_comes_out_once_and_never_early(steps: list[tuple[str, float]]) -> None:
    wheel: TimerWheel[int] = TimerWheel()
    model: dict[int, float] = {}
    sets: dict[int, set[int]] = {}
    now_s = 0.0
    for number, (step, argument) in enumerate(steps):
        if step == "add":
            model[number] = now_s + argument
            sets[number] = wheel.add(number, model[number])
        elif step == "end" and argument in model:
            sets[int(argument)].discard(int(argument))
            del model[int(argument)]
        elif step == "look":
            now_s += argument
            due = wheel.take_due(now_s)
            assert len(due) == len(set(due))
            assert all(model[item] <= now_s for item in due), "early"
            late = {item for item, due_s in model.items() if due_s <= now_s - 1 / TICKS_PER_S}
            assert late <= set(due), "later than a tick"
            moments = [int(model[item] * TICKS_PER_S) for item in due]
            assert moments == sorted(moments)
            for item in due:
                del model[item]
        assert len(wheel) == len(model)
        first_s = wheel.next_due_s()
        earliest_s = min(model.values(), default=inf)
        assert (first_s is None) == (not model)
        assert first_s is None or earliest_s <= first_s <= earliest_s + 2 / TICKS_PER_S


def test_a_wait_that_ended_leaves_nothing_behind() -> None:
    wheel: TimerWheel[int] = TimerWheel()
    for number in range(10_000):
        wheel.add(number, number / 100).discard(number)

    assert wheel.next_due_s() is None
    assert not wheel.take_due(inf)
    assert not wheel._ticks
