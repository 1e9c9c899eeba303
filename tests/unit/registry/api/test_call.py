"""What handlers are given: preconditions and cursors."""

import pytest

from registry.accounts.roles import Right
from registry.api.call import cursor_of, lack_of, matches, position_of
from registry.problem_types import ApiProblem


@pytest.mark.parametrize("header", ['"7"', "*", '"1", "7"', 'W/"7"', ' "7" '])
def test_an_entity_tag_is_found_in_a_list(header: str) -> None:
    assert matches(header, "7")


@pytest.mark.parametrize("header", ['"8"', "7", "", '"77"', "7*"])
def test_another_entity_tag_is_not(header: str) -> None:
    assert not matches(header, "7")


@pytest.mark.parametrize("position", [b"\x00", b"88.1/PUMP", bytes(range(256))])
def test_a_cursor_gives_its_position_back(position: bytes) -> None:
    assert position_of(cursor_of(position)) == position


def test_no_cursor_is_the_start() -> None:
    assert position_of("") is None


@pytest.mark.parametrize("cursor", ["a", "a=b", "ab==", "*", "\u00e4", "QUI\n", "QR"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ApiProblem):
        position_of(cursor)


def test_who_lacks_a_right_is_told_which_roles_have_it() -> None:
    problem = lack_of(Right.ORGANISATION_REVIEW)
    assert problem.detail == "The operation takes the right organisation:review."
    assert problem.remedy == "Use a user or an API key with this right; roles that have it: reviewer."
