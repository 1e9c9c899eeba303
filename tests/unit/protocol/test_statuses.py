"""Texts of statuses: what one side writes, the other reads."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.statuses import Status, StatusText, parse_status

PLAIN = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=40)


def test_a_suspension_tells_who_since_when_and_why() -> None:
    text = str(
        StatusText(status=Status.SUSPENDED, by="its registrant", since_s=1_800_000_000, reason="recalled")
    )
    assert text == "suspended by its registrant since 2027-01-15T08:00:00Z: recalled"


def test_a_retirement_names_its_successor() -> None:
    text = str(StatusText(status=Status.RETIRED, since_s=0, reason="replaced", successor="88.1/pump-8"))
    assert text == "retired since 1970-01-01T00:00:00Z: replaced; successor 88.1/pump-8"


@given(status=st.sampled_from(Status), since_s=st.integers(0, 2**32), reason=PLAIN, by=PLAIN, successor=PLAIN)
def test_what_is_written_is_read(status: Status, since_s: int, reason: str, by: str, successor: str) -> None:
    given_ = StatusText(status=status, since_s=since_s, reason=reason, by=by, successor=successor)
    assert parse_status(str(given_)) == given_


@given(st.text(max_size=200))
def test_any_other_text_is_no_status(text: str) -> None:
    assert parse_status(text) is None or text.startswith(("suspended", "retired", "revoked"))


def test_a_date_that_does_not_exist_is_no_status() -> None:
    assert parse_status("suspended since 2027-02-30T08:00:00Z") is None
