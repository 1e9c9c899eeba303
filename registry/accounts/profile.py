"""Profile: what describes an organisation, and the rules that it keeps. Pure.

The fields are those of tables T1 and T6 of the public docking guide, without people, modelled on it and no more: no
text of the interface itself was to be had. People are named by id elsewhere, since their data are sealed.
"""

import re
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from registry.accounts.industries import industry_fault
from registry.accounts.regions import region_faults
from registry.accounts.systems import (
    ADDRESSES_MAX,
    SITES_MAX,
    DomainLicence,
    Endpoint,
    PublicWebsite,
    Undertaking,
    endpoint_faults,
    is_domain,
    licence_faults,
    undertaking_faults,
    website_faults,
)
from registry.accounts.uscc import uscc_fault
from registry.problem_types import FieldFault
from registry.text import Line, Paragraph, refused_character

SERVICE_INDUSTRIES_MAX: Final = 20
"""There are 20 sections; nobody serves more than one division of each."""
WEBSITE_MAX: Final = 500

Digits = Annotated[str, Meta(min_length=1, max_length=6, pattern="^[0-9]+$")]


class OrganisationKind(StrEnum):
    """单位性质."""

    STATE_CONTROLLED = "state_controlled"
    PRIVATELY_CONTROLLED = "privately_controlled"
    FOREIGN_CONTROLLED = "foreign_controlled"
    PUBLIC_INSTITUTION = "public_institution"
    PRIVATE_NON_PROFIT = "private_non_profit"


class CertificateType(StrEnum):
    """证件类型."""

    USCC = "uscc"
    """Unified social credit code (统一社会信用代码, GB 32100)."""
    OTHER = "other"


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place: codes of GB/T 2260, six digits each, and the rest of the address."""

    province: Digits
    city: Digits | None = None
    district: Digits | None = None
    detail: Line | None = None


class Industry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An industry by GB/T 4754-2017."""

    section: Annotated[str, Meta(min_length=1, max_length=1)]
    """门类, A to T."""
    division: Digits
    """大类, 01 to 97."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An organisation (主体), as it describes itself and reviewers check it."""

    name: Line
    name_en: Line | None = None
    kind: OrganisationKind
    certificate_type: CertificateType
    certificate_number: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[0-9A-Za-z-]+$")]
    region: Region
    industry: Industry
    registration_authority: Line | None = None
    """注册机关."""
    registered_capital: Line | None = None
    """With its unit and currency."""
    established: date | None = None
    valid_until: date | None = None
    """End of the certificate; null for one without an end."""
    website: Annotated[str, Meta(min_length=1, max_length=WEBSITE_MAX)] | None = None
    introduction: Paragraph | None = None
    data_location: Region | None = None
    """Where registered data are kept."""
    backup_location: Region | None = None
    system_construction: Undertaking | None = None
    """Who built its system for identifiers (系统建设)."""
    system_operation: Undertaking | None = None
    """Who runs it (系统运营)."""
    registration_system_location: Region | None = None
    registration_system_addresses: Annotated[list[Endpoint], Meta(max_length=ADDRESSES_MAX)] = []
    """Where registrations are taken, by address and port."""
    resolution_server_location: Region | None = None
    system_backup_location: Region | None = None
    domain_licences: Annotated[list[DomainLicence], Meta(max_length=SITES_MAX)] = []
    """域名许可."""
    public_websites: Annotated[list[PublicWebsite], Meta(max_length=SITES_MAX)] = []
    """Where the service is offered (对外网站)."""
    data_custodian: Line | None = None
    service_custodian: Line | None = None
    real_name_checked: bool = False
    """Whether the organisation verifies the identity of those it registers for (注册实名核验)."""
    name_compliance_checked: bool = False
    """Whether it checks names for compliance (名称合规)."""
    service_industries: Annotated[list[Industry], Meta(max_length=SERVICE_INDUSTRIES_MAX)] = []

    @property
    def certificate(self) -> str:
        """Type and number of the certificate, as it is looked up."""
        return f"{self.certificate_type.value}:{self.certificate_number}"


REVIEWED: Final = (
    "name",
    "name_en",
    "kind",
    "certificate_type",
    "certificate_number",
    "region",
    "industry",
    "registration_authority",
    "registered_capital",
    "established",
    "valid_until",
)
"""What a reviewer compares with the certificate; a change of it is reviewed again."""

_PLACES: Final = (
    "region",
    "data_location",
    "backup_location",
    "registration_system_location",
    "resolution_server_location",
    "system_backup_location",
)
_URL_CHARACTERS: Final = re.compile(r"[!#-;=?-\[\]_a-z~]+")  # printable ASCII without blank and <>"\^`{|}


def needs_review(old: Profile, new: Profile) -> bool:
    """Whether the change touches what a reviewer has checked."""
    return any(getattr(old, field) != getattr(new, field) for field in REVIEWED)


def profile_faults(profile: Profile, *, today: date, path: str = "") -> list[FieldFault]:
    """Everything that is wrong with a profile; empty when nothing is. path: JSON pointer of the profile itself."""
    return [FieldFault(f"{path}/{pointer}", detail) for pointer, detail in _faults(profile, today)]


def text_faults(struct: msgspec.Struct, path: str = "") -> Iterator[tuple[str, str]]:
    """The texts of a struct, nested ones too, that hold a character which people do not see as it is."""
    for field in struct.__struct_fields__:
        value = getattr(struct, field)
        if isinstance(value, str) and (fault := refused_character(value)):
            yield f"{path}{field}", fault
        elif isinstance(value, msgspec.Struct):
            yield from text_faults(value, f"{path}{field}/")
        elif isinstance(value, list):
            for place, entry in enumerate(value):
                if isinstance(entry, msgspec.Struct):
                    yield from text_faults(entry, f"{path}{field}/{place}/")


def _faults(profile: Profile, today: date) -> Iterator[tuple[str, str]]:
    yield from text_faults(profile)
    if profile.certificate_type is CertificateType.USCC and (fault := uscc_fault(profile.certificate_number)):
        yield "certificate_number", fault
    for field in _PLACES:
        place: Region | None = getattr(profile, field)
        if place is not None:
            faults = region_faults(place.province, place.city, place.district)
            yield from ((f"{field}/{level}", fault) for level, fault in faults.items())
    industries = [("industry", profile.industry)]
    industries += [(f"service_industries/{n}", entry) for n, entry in enumerate(profile.service_industries)]
    for field, industry in industries:
        if fault := industry_fault(industry.section, industry.division):
            yield field, fault
    if profile.website is not None and (fault := website_fault(profile.website)):
        yield "website", fault
    yield from _system_faults(profile)
    yield from _date_faults(profile, today)


def _system_faults(profile: Profile) -> Iterator[tuple[str, str]]:
    faults = {
        "registration_system_addresses": endpoint_faults(profile.registration_system_addresses),
        "domain_licences": licence_faults(profile.domain_licences),
        "public_websites": website_faults(profile.public_websites),
    }
    for field in ("system_construction", "system_operation"):
        undertaking: Undertaking | None = getattr(profile, field)
        if undertaking is not None:
            faults[field] = undertaking_faults(undertaking)
    for field, found in faults.items():
        yield from ((f"{field}/{pointer}", fault) for pointer, fault in found)


def _date_faults(profile: Profile, today: date) -> Iterator[tuple[str, str]]:
    if profile.established is not None and profile.established > today:
        yield "established", "lies in the future"
    if profile.valid_until is not None and profile.valid_until < today:
        yield "valid_until", "is over: the certificate has ended"


def website_fault(address: str) -> str | None:
    """Why a text is no address of a website; None when it is one. Only shown to people, never asked by us."""
    if not _URL_CHARACTERS.fullmatch(address):
        return "holds a character that no URL holds; percent-encode it"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return "must hold no user name and no password"
    if not is_domain(host) or port == 0:
        return "names no host; write one outside ASCII as xn--…"
    return None
