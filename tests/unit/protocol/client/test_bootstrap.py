"""The root bundle: written, read back, and refused with a reason."""

import json
from pathlib import Path

import pytest

from protocol.client.bootstrap import MAX_BUNDLE_OCTETS, format_bundle, load_bundle, write_bundle
from protocol.errors import SettingsError
from protocol.handle import Handle
from tests.support.scripted_world import site, value

ROOT_RECORD = Handle.parse("0.NA/0.NA")


def test_a_written_bundle_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "root.json"
    sites = (site("127.0.0.1", serial=3), site("127.0.0.2", primary=False))

    write_bundle(path, {ROOT_RECORD: [value(n, "HS_SITE", each) for n, each in enumerate(sites, 1)]})

    assert load_bundle(path).sites == sites
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_bundle_has_the_form_of_cnri() -> None:
    form = json.loads(
        format_bundle({ROOT_RECORD: [value(1, "HS_SITE", site("127.0.0.1"))]}, updated_ms=1_564)
    )

    assert form["lastUpdate"] == 1_564
    assert form["handles"]["0.NA/0.NA"]["handle"] == "0.NA/0.NA"
    assert form["handles"]["0.NA/0.NA"]["values"][0]["data"]["format"] == "site"


def test_disabled_and_unrelated_values_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "root.json"
    path.write_text(
        json.dumps(
            {
                "lastUpdate": 1,
                "handles": {
                    "0.0/0.0": {"handle": "0.0/0.0", "values": []},
                    "0.na/0.na": {
                        "handle": "0.na/0.na",
                        "values": [
                            {"index": 1, "type": "#HS_SITE", "data": {"format": "base64", "value": "AAE="}},
                            {
                                "index": 2,
                                "type": "EMAIL",
                                "data": {"format": "string", "value": "a@b.example"},
                            },
                            {
                                "index": 5,
                                "type": "HS_SITE",
                                "timestamp": "2016-05-17T21:27:23Z",
                                "data": {
                                    "format": "site",
                                    "value": {
                                        "version": 1,
                                        "protocolVersion": "2.10",
                                        "serialNumber": 15,
                                        "primarySite": True,
                                        "multiPrimary": True,
                                        "attributes": [{"name": "desc", "value": "example"}],
                                        "servers": [
                                            {
                                                "serverId": 1,
                                                "address": "20.0.0.1",
                                                "interfaces": [
                                                    {
                                                        "query": True,
                                                        "admin": False,
                                                        "protocol": "UDP",
                                                        "port": 2641,
                                                    }
                                                ],
                                            }
                                        ],
                                    },
                                },
                            },
                        ],
                    },
                },
            }
        )
    )

    service = load_bundle(path)

    assert [each.serial for each in service.sites] == [15]
    assert str(service.sites[0].servers[0].ip) == "20.0.0.1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "handles"),
        ('{"handles": []}', "handles"),
        ('{"handles": {}}', "0.NA/0.NA"),
        ('{"handles": {"0.NA/0.NA": {"values": []}}}', "HS_SITE"),
        ('{"handles": {"0.NA/0.NA": {"values": [{"index": "x"}]}}}', "root bundle"),
        ('{"handles": {"0.NA/0.NA": 7}}', "root bundle"),
    ],
)
def test_a_file_that_is_no_bundle_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(SettingsError, match=reason) as caught:
        load_bundle(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.json"):
        load_bundle(tmp_path / "absent.json")


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(b" " * (MAX_BUNDLE_OCTETS + 1))

    with pytest.raises(SettingsError, match="octets"):
        load_bundle(path)


def test_records_that_could_not_be_loaded_again_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "root.json"

    with pytest.raises(SettingsError):
        write_bundle(path, {ROOT_RECORD: [value(1, "DESC", "no site")]})
    assert not path.exists()
