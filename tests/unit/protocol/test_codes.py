"""Operation codes, response codes, flags: names, numbers, HTTP statuses."""

import inspect

import pytest

from protocol import errors
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode, http_status, op_name, rc_name
from protocol.errors import HandleError, ResolutionFailed, SettingsError, WireError


def test_the_default_flags_permit_recursion_and_signing_caches_and_ask_for_public_values() -> None:
    assert DEFAULT_FLAGS == 0x1900_0000


def test_every_flag_is_one_bit_of_its_own() -> None:
    bits = [flag.value for flag in OpFlag]
    assert sum(bits) == 0xFFF0_0004
    assert all(bit & (bit - 1) == 0 for bit in bits)


def test_numbers_in_no_list_share_one_name() -> None:
    assert op_name(1) == "resolution"
    assert op_name(99) == op_name(2**32 - 1) == "other"
    assert rc_name(100) == "handle_not_found"
    assert rc_name(900) == rc_name(0) == "other"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, 200), (2, 500), (3, 503), (4, 400), (5, 501), (6, 500), (7, 503),
        (100, 404), (101, 409), (102, 400), (201, 409), (202, 400),
        (300, 500), (301, 400), (302, 300), (303, 300),
        (400, 403), (401, 403), (402, 401), (403, 403), (404, 403), (405, 500), (406, 500),
        (500, 500), (501, 500), (502, 500), (503, 500), (504, 500), (505, 500),
    ],
)  # fmt: skip
def test_a_response_code_has_its_http_status(code: int, status: int) -> None:
    assert http_status(code) == status


def test_every_response_code_has_an_http_status() -> None:
    assert all(200 <= http_status(code) < 600 for code in ResponseCode)
    assert http_status(900) == 500


def test_no_values_is_a_success_for_a_reader_and_a_fault_of_a_writer() -> None:
    assert http_status(ResponseCode.VALUES_NOT_FOUND) == 200
    assert http_status(ResponseCode.VALUES_NOT_FOUND, operation=OpCode.REMOVE_VALUE) == 400


def test_a_write_that_made_something_new_says_created() -> None:
    assert http_status(1, operation=OpCode.CREATE_HANDLE, created=True) == 201
    assert http_status(1, operation=OpCode.CREATE_HANDLE) == 200
    assert http_status(101, operation=OpCode.CREATE_HANDLE, created=True) == 409


def _exceptions() -> list[type[HandleError]]:
    return [
        member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, HandleError)
    ]


@pytest.mark.parametrize("exception", _exceptions())
def test_every_exception_tells_a_code_that_peers_know_and_is_drawn_in_the_tree(
    exception: type[HandleError],
) -> None:
    assert exception.code in ResponseCode
    assert http_status(exception.code) >= 300
    assert exception.__name__ in (errors.__doc__ or "")


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = [
        (line.index("──") // 4 + 1, line.split("── ")[1].split()[0])
        for line in (errors.__doc__ or "").splitlines()
        if "── " in line
    ]
    parents: list[type] = [HandleError]
    for depth, name in drawn:
        exception = getattr(errors, name)
        assert exception.__bases__ == (parents[depth - 1],), name
        parents[depth:] = [exception]
    assert {name for _, name in drawn} == {exception.__name__ for exception in _exceptions()} - {
        "HandleError"
    }


def test_a_failed_resolution_names_node_cause_and_remedy() -> None:
    failure = ResolutionFailed("no answer within 5 s", node="192.0.2.1:2641", remedy="start the node")
    assert str(failure) == "192.0.2.1:2641: no answer within 5 s"
    assert failure.remedy == "start the node"
    assert str(ResolutionFailed("no root bundle")) == "no root bundle"


def test_wrong_settings_are_told_all_at_once() -> None:
    assert SettingsError(["a: wrong", "b: missing"]).faults == ("a: wrong", "b: missing")
    assert str(SettingsError(["a: wrong", "b: missing"])) == "a: wrong; b: missing"


def test_broken_octets_are_a_protocol_error() -> None:
    assert WireError.code is ResponseCode.PROTOCOL_ERROR
