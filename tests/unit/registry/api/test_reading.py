"""What is believed of parameters and bodies, and what is told about the rest."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from registry.api.faults import field_fault
from registry.api.reading import check_json, decode_body, decode_query, read_parameters, take_flag
from registry.api.schemas.base import Body, Paging
from registry.problem_types import INVALID_REQUEST, ApiProblem


class Part(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Annotated[str, Meta(max_length=5)] = ""


class Thing(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    parts: tuple[Part, ...] = ()
    free: dict[str, object] | None = None


DECODER: msgspec.json.Decoder[msgspec.Struct] = msgspec.json.Decoder(Thing)


def refusal(octets: bytes) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        decode_body(DECODER, octets)
    assert caught.value.type is INVALID_REQUEST
    return caught.value


def pointers(problem: ApiProblem) -> list[str]:
    return [fault.pointer for fault in problem.errors]


def test_a_body_that_is_described_is_read() -> None:
    thing = decode_body(DECODER, '{"name":"泵\\\\u0000\\"","parts":[{"kind":"a"}]}'.encode())

    assert thing == Thing(name='泵\\u0000"', parts=(Part(kind="a"),))


@pytest.mark.parametrize(
    ("octets", "pointer"),
    [
        (b'{"name":1}', "/name"),
        (b'{"name":"x","parts":[{},{"kind":"abcdef"}]}', "/parts/1/kind"),
        (b'{"name":"x","parts":[{"kin/d~":1}]}', "/parts/0/kin~1d~0"),
        (b'{"name":"x","surprise":1}', "/surprise"),
        (b"{}", "/name"),
        (b"[]", ""),
    ],
)
def test_a_wrong_field_is_pointed_at(octets: bytes, pointer: str) -> None:
    assert pointers(refusal(octets)) == [pointer]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b'{"name":"x"',
        b'{"name":"\xff"}',
        b'{"name":"\\ud800"}',
        b'{"name":"\\u0000"}',
        b'{"name":"a\\\\\\u0000"}',
        b'{"name":"x"} {}',
        b"\x00",
    ],
)
def test_what_is_no_json_or_holds_what_cannot_be_stored_is_refused(octets: bytes) -> None:
    refusal(octets)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Expected `str` of length >= 12 - at `$.password`", "must have at least 12 characters"),
        ("Expected `array` of length <= 200 - at `$.items`", "must have at most 200 items"),
        ("Expected `int` <= 200 - at `$.limit`", "must be at most 200"),
        ("Expected `float` >= -1.5", "must be at least -1.5"),
        ("Expected `str` matching regex '^[0-9a-f]{64}$' - at `$.node`", "must match ^[0-9a-f]{64}$"),
        ("Expected `str | null`, got `int` - at `$.a`", "must be a text or null, and is a whole number"),
        ("Object missing required field `prefix`", "is missing"),
        ("Invalid enum value 'secret' - at `$.role`", "is none of the values that are possible"),
        ("Something new", "Something new"),
    ],
)
def test_a_fault_is_told_in_words_for_people(message: str, said: str) -> None:
    assert field_fault(message).detail == said


def nested(levels: int, opening: str, closing: str) -> bytes:
    return ('{"name":"x","free":{"a":' + opening * levels + "1" + closing * levels + "}}").encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"[{":', "}]")])
def test_deep_json_is_refused_before_it_is_decoded(opening: str, closing: str) -> None:
    levels = 62 // len(closing)
    decode_body(DECODER, nested(levels, opening, closing))
    assert "nested" in refusal(nested(levels + 1, opening, closing)).detail
    assert "nested" in refusal(nested(200_000, opening, closing)).detail


def test_brackets_in_texts_are_no_levels() -> None:
    check_json(b'{"name":"' + b'[{\\"\\\\' * 1_000 + b'"}')


def test_brackets_that_never_close_are_refused_soon() -> None:
    with pytest.raises(ApiProblem):
        check_json(b"[" * 1_000_000)


def test_many_shallow_levels_side_by_side_are_fine() -> None:
    check_json(b'{"parts":[' + b",".join([b'{"kind":"a"}'] * 10_000) + b"]}")


def test_parameters_are_decoded_by_their_description() -> None:
    parameters = read_parameters("/api/v1/things?limit=7&cursor=ab-_")

    assert decode_query(Paging, parameters) == Paging(limit=7, cursor="ab-_")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?limit=0", "?limit"),
        ("?limit=201", "?limit"),
        ("?limit=x", "?limit"),
        ("?limit=1&limit=2", "?limit"),
        ("?cursor=%2F", "?cursor"),
        ("?cursor=a%00", "?cursor"),
        ("?surprise=1", "?surprise"),
        ("?%00=1", "?\x00"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, pointer: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        decode_query(Paging, read_parameters("/x" + query))

    assert caught.value.type is INVALID_REQUEST
    assert pointers(caught.value) == [pointer]


@pytest.mark.parametrize("query", ["?a=%", "?a=%ff", "?" + "&".join("abc" for _ in range(300))])
def test_a_query_that_cannot_be_read_is_invalid(query: str) -> None:
    with pytest.raises(ApiProblem):
        read_parameters("/x" + query)


@pytest.mark.parametrize(
    ("text", "flag"), [("", False), ("?dry_run", True), ("?dry_run=True", True), ("?dry_run=false", False)]
)
def test_a_flag_is_taken_out_of_the_parameters(text: str, *, flag: bool) -> None:
    parameters = read_parameters("/x" + text)

    assert take_flag(parameters, "dry_run") is flag
    assert not parameters


@pytest.mark.parametrize("text", ["?dry_run=maybe", "?dry_run=true&dry_run=true"])
def test_a_flag_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ApiProblem):
        take_flag(read_parameters("/x" + text), "dry_run")
