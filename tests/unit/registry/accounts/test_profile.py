"""The description of an organisation and its rules."""

from datetime import date

import msgspec
import pytest

from registry.accounts.profile import (
    CertificateType,
    Industry,
    OrganisationKind,
    Profile,
    Region,
    needs_review,
    profile_faults,
    website_fault,
)
from registry.accounts.systems import DomainLicence, Effort, PublicWebsite, Undertaking

TODAY = date(2026, 7, 1)
PLANT = Profile(
    name="示例水泵厂",
    kind=OrganisationKind.PRIVATELY_CONTROLLED,
    certificate_type=CertificateType.USCC,
    certificate_number="91350100M000100Y43",
    region=Region(province="310000", city="310100", district="310115", detail="张江路 1 号"),
    industry=Industry(section="C", division="34"),
)


def changed(**fields: object) -> Profile:
    return msgspec.structs.replace(PLANT, **fields)


def pointers(profile: Profile) -> set[str]:
    return {fault.pointer for fault in profile_faults(profile, today=TODAY, path="/profile")}


def test_a_right_profile_has_no_faults() -> None:
    full = changed(
        website="https://plant.example/zh?a=%E4%B8%AD",
        established=date(2001, 2, 3),
        valid_until=date(2031, 1, 1),
        data_location=Region(province="310000"),
        service_industries=[Industry(section="D", division="44")],
        system_construction=Undertaking(
            effort=Effort.ENTRUSTED, contractor="示例软件有限公司", contract="2026-17"
        ),
        system_operation=Undertaking(effort=Effort.OWN),
        registration_system_location=Region(province="310000"),
        registration_system_addresses=["203.0.113.7:443", "[2001:db8::7]:443"],
        resolution_server_location=Region(province="310000"),
        system_backup_location=Region(province="320000"),
        domain_licences=[DomainLicence(domain="plant.example", number="沪D3-20260001")],
        public_websites=[
            PublicWebsite(
                name="水泵标识", domain="id.plant.example", addresses=["203.0.113.7", "2001:db8::7"]
            )
        ],
    )
    assert profile_faults(full, today=TODAY) == []
    assert msgspec.json.decode(msgspec.json.encode(full), type=Profile) == full


def test_every_fault_is_told_at_once_with_its_place() -> None:
    wrong = changed(
        name="示例\u200b水泵厂",
        certificate_number="91350100M000100Y44",
        region=Region(province="310000", city="320100", detail="a\u202eb"),
        industry=Industry(section="A", division="34"),
        website="ftp://plant.example",
        established=date(2027, 1, 1),
        valid_until=date(2020, 1, 1),
        backup_location=Region(province="000000"),
        service_industries=[Industry(section="C", division="34"), Industry(section="Z", division="34")],
    )
    assert pointers(wrong) == {
        "/profile/name",
        "/profile/certificate_number",
        "/profile/region/city",
        "/profile/region/detail",
        "/profile/industry",
        "/profile/website",
        "/profile/established",
        "/profile/valid_until",
        "/profile/backup_location/province",
        "/profile/service_industries/1",
    }


def test_faults_of_systems_are_told_with_their_place() -> None:
    wrong = changed(
        system_construction=Undertaking(effort=Effort.ENTRUSTED),
        system_operation=Undertaking(effort=Effort.OWN, contractor="示例软件有限公司", contract="17"),
        registration_system_addresses=[
            "203.0.113.7:443",
            "203.0.113.7",
            "203.0.113.7:0",
            "203.0.113.7:65536",
            "203.0.113.256:1",
            "2001:db8::7:443",
            "[203.0.113.7:443",
        ],
        resolution_server_location=Region(province="000000"),
        system_backup_location=Region(province="310000", city="320100"),
        domain_licences=[DomainLicence(domain="-plant", number="1\u202e7")],
        public_websites=[PublicWebsite(name="a\u200bb", domain="id..example", addresses=["::1", "1.2.3"])],
    )
    assert pointers(wrong) == {
        "/profile/system_construction/contractor",
        "/profile/system_operation/contractor",
        "/profile/system_operation/contract",
        *(f"/profile/registration_system_addresses/{place}" for place in range(1, 7)),
        "/profile/resolution_server_location/province",
        "/profile/system_backup_location/city",
        "/profile/domain_licences/0/domain",
        "/profile/domain_licences/0/number",
        "/profile/public_websites/0/name",
        "/profile/public_websites/0/domain",
        "/profile/public_websites/0/addresses/1",
    }


def test_another_certificate_has_no_check() -> None:
    assert not pointers(changed(certificate_type=CertificateType.OTHER, certificate_number="A-17"))


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("https://plant.example", True),
        ("http://plant.example:8080/zh/", True),
        ("https://xn--fiqs8s.example/", True),
        ("javascript:alert(1)", False),
        ("https://user:secret@plant.example/", False),
        ("https://user@plant.example/", False),
        ("https:///nowhere", False),
        ("https://plant.example/<script>", False),
        ("https://plant.example:99999/", False),
        ("https://plant.example:0/", False),
        ("https://中国.example/", False),
        ("https://[::1/", False),
        ("plant.example", False),
        ("https://plant.example/a b", False),
        ("https://plant.example/\n", False),
    ],
)
def test_a_website_is_a_plain_http_address(address: str, accepted: bool) -> None:
    assert (website_fault(address) is None) == accepted


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        ({"name": "示例阀门厂"}, True),
        ({"region": Region(province="320000")}, True),
        ({"valid_until": date(2030, 1, 1)}, True),
        ({"introduction": "水泵"}, False),
        ({"website": "https://plant.example"}, False),
        ({"data_custodian": "示例云"}, False),
        ({"system_operation": Undertaking(effort=Effort.OWN)}, False),
    ],
)
def test_what_reviewers_check_is_reviewed_again(fields: dict[str, object], again: bool) -> None:
    assert needs_review(PLANT, changed(**fields)) is again
