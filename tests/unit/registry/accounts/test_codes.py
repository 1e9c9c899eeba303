"""Codes that organisations are described by: credit codes, industries, regions, identity cards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.accounts.industries import DIVISIONS, SECTIONS, industry_fault
from registry.accounts.person import Person, PersonCertificate, person_faults
from registry.accounts.regions import region_faults
from registry.accounts.uscc import ALPHABET, check_character, uscc_fault

VALID = ("91350100M000100Y43", "91110000600037341L", "9144030071526726XG")


@pytest.mark.parametrize("code", VALID)
def test_a_credit_code_in_use_is_accepted(code: str) -> None:
    assert uscc_fault(code) is None


@given(place=st.integers(0, 17), character=st.sampled_from(ALPHABET), code=st.sampled_from(VALID))
def test_any_single_wrong_character_is_noticed(place: int, character: str, code: str) -> None:
    wrong = code[:place] + character + code[place + 1 :]
    assert (uscc_fault(wrong) is None) == (wrong == code)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("91350100M000100Y4", "17 characters"),
        ("91350100M000100Y4O", "'O'"),
        ("91350100m000100Y43", "'m'"),
        ("91X50100M000100Y43", "six digits"),
        ("91350100M000100Y53", "position 17"),
        ("91350100M000100Y44", "at its end"),
    ],
)
def test_a_wrong_credit_code_is_refused_with_the_reason(code: str, reason: str) -> None:
    assert reason in (uscc_fault(code) or "")


def test_the_check_character_is_the_last_one() -> None:
    assert [check_character(code[:17]) for code in VALID] == [code[17] for code in VALID]


def test_the_industries_are_those_of_the_standard() -> None:
    assert len(SECTIONS) == 20
    assert list(DIVISIONS) == [f"{number:02}" for number in range(1, 98)]
    assert DIVISIONS["39"] == ("C", "计算机、通信和其他电子设备制造业")
    assert {DIVISIONS[division][0] for division in ("13", "43")} == {"C"}
    assert [DIVISIONS[division][0] for division in ("12", "44", "65", "97")] == ["B", "D", "I", "T"]


@pytest.mark.parametrize(
    ("section", "division", "reason"),
    [
        ("C", "39", None),
        ("U", "01", "section"),
        ("C", "98", "division"),
        ("C", "3", "two digits"),
        ("A", "39", "C"),
    ],
)
def test_an_industry_is_a_division_in_its_section(section: str, division: str, reason: str | None) -> None:
    fault = industry_fault(section, division)
    assert fault is None if reason is None else reason in (fault or "")


@pytest.mark.parametrize(
    ("province", "city", "district", "wrong"),
    [
        ("310000", "310100", "310115", set()),
        ("429000".replace("9", "0"), "429000", "429004", set()),
        ("810000", None, None, set()),
        ("990000", None, None, {"province"}),
        ("310100", None, None, {"province"}),
        ("310000", "320100", None, {"city"}),
        ("310000", "310000", None, {"city"}),
        ("310000", "310100", "320115", {"district"}),
        ("310000", "310100", "310215", {"district"}),
        ("310000", None, "310115", {"district"}),
        ("31000", None, None, {"province"}),
        ("３１0000", None, None, {"province"}),
    ],
)
def test_a_place_lies_in_the_one_before_it(
    province: str, city: str | None, district: str | None, wrong: set[str]
) -> None:
    assert set(region_faults(province, city, district)) == wrong


def test_a_person_with_right_data_is_accepted() -> None:
    person = Person(
        name="李雷",
        certificate_type=PersonCertificate.IDENTITY_CARD,
        certificate_number="11010519491231002X",
        email="li.lei@plant.example",
        mobile="+86 138 0013 8000",
        fax="(021) 6000-0000",
    )
    assert person_faults(person) == []
    assert person.fields()["certificate_type"] == "identity_card"


def test_what_is_wrong_with_a_person_is_told_without_repeating_it() -> None:
    person = Person(
        name="Li\u202eLei",
        certificate_type=PersonCertificate.IDENTITY_CARD,
        certificate_number="110105194912310021",
        email="li.lei at plant",
        mobile="call me",
    )

    faults = person_faults(person, "/contact")

    assert {fault.pointer for fault in faults} == {
        "/contact/name", "/contact/certificate_number", "/contact/email", "/contact/mobile",
    }  # fmt: skip
    told = " ".join(fault.detail for fault in faults)
    assert not any(part in told for part in ("110105", "plant", "call me", "Lei"))
    assert "Lei" not in repr(person)


def test_type_and_number_of_a_persons_certificate_come_together() -> None:
    (fault,) = person_faults(Person(name="李雷", certificate_number="E1"))
    assert fault.pointer == "/certificate_number"
