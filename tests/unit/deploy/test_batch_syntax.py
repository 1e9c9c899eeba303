"""Batch files as deployed tools write them, and batch files of somebody who means harm."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.batch.files import Files
from deploy.batch.run import survey_batch
from deploy.batch.syntax import (
    MAX_BLOCK_OCTETS,
    MAX_LINE_OCTETS,
    Authenticate,
    Entry,
    Fault,
    Homing,
    SessionSetup,
    ValueLine,
    Write,
    read_batch,
)
from protocol.errors import InvalidValue
from protocol.site import InterfaceProtocol, Site
from protocol.value import HandleValue, ValueReference
from protocol.valuetypes import Admin, AdminPermission, ValueReferences
from tests.support.vectors import keys

WHOLE = """\
AUTHENTICATE PUBKEY:300:0.NA/88.1
keys/admpriv.bin|open sesame

create 88.1/pump
100 HS_ADMIN 86400 1110 ADMIN 300:110000000001:0.NA/88.1
1 URL 3600 1110 UTF8 https://example.com/a b  c
400 HS_VLIST 86400 1110 LIST 300:88.1/A; 301:88.1/B;
300 HS_PUBKEY 86400 1110 FILE pub key.bin

DELETE 88.1/one
DELETE 88.1/two:three
REMOVE 5, 6:88.1/pump:7
# a remark
MODIFY 88.1/pump
1 URL 86400 1110 UTF8 x
ADD 88.1/pump
2 URL 86400 1110 UTF8 y

HOME 192.0.2.1:2641:TCP
0.NA/88.1
0.na/88.2

UNHOME [2001:db8::1]:8000:http
0.NA/88.1

SESSIONSETUP
USESESSION:1
OPTIONS:101
TIMEOUT:2
"""


def read(text: str | bytes) -> list[Entry]:
    """The entries of a batch."""
    return list(read_batch(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def faults(text: str | bytes) -> list[tuple[int, str]]:
    """Lines and messages of what is wrong."""
    return [(entry.line, entry.message) for entry in read(text) if isinstance(entry, Fault)]


def values(lines: str) -> list[ValueLine]:
    """The values of a record."""
    (entry,) = read(f"CREATE 88.1/x\n{lines}\n")
    assert isinstance(entry, Write), entry
    return list(entry.values)


def test_every_command_is_read() -> None:
    who, create, one, two, remove, modify, add, home, home2, unhome, session = read(WHOLE)

    assert isinstance(who, Authenticate)
    assert (who.by_key, str(who.reference)) == (True, "300:0.NA/88.1")
    assert (who.key_file, who.passphrase) == ("keys/admpriv.bin", b"open sesame")
    assert isinstance(create, Write)
    assert (create.line, create.verb, str(create.handle)) == (4, "CREATE", "88.1/pump")
    assert [line.value.index for line in create.values] == [100, 1, 400, 300]
    assert (create.values[1].value.ttl, create.values[1].value.data) == (3600, b"https://example.com/a b  c")
    assert create.values[3].file == "pub key.bin"
    assert isinstance(one, Write)
    assert isinstance(two, Write)
    assert str(two.handle) == "88.1/two:three"
    assert isinstance(remove, Write)
    assert (remove.indexes, str(remove.handle)) == ((5, 6), "88.1/pump:7")
    assert isinstance(modify, Write)
    assert isinstance(add, Write)
    assert (modify.verb, add.verb, add.line) == ("MODIFY", "ADD", 16)
    assert isinstance(home, Homing)
    assert isinstance(home2, Homing)
    assert (home.line, str(home.prefix), home2.line, str(home2.prefix)) == (20, "88.1", 21, "88.2")
    assert home.place.protocol is InterfaceProtocol.TCP
    assert isinstance(unhome, Homing)
    assert (unhome.place.address, unhome.place.protocol) == ("2001:db8::1", InterfaceProtocol.HTTP)
    assert isinstance(session, SessionSetup)
    assert (session.encrypted, session.fallback, session.timeout_s) == (True, True, 7_200)


def test_rights_of_an_administrator_are_read_from_the_lowest_bit_as_deployed_tools_do() -> None:
    (line,) = values("100 HS_ADMIN 86400 1110 ADMIN 300:110000000001:0.NA/88.1")
    rights = AdminPermission.ADD_HANDLE | AdminPermission.DELETE_HANDLE | AdminPermission.LIST_HANDLES
    assert Admin.decode(line.value.data) == Admin(ValueReference(b"0.NA/88.1", 300), rights)


def test_an_administrator_may_stand_on_a_line_of_his_own_as_the_manual_prints_it() -> None:
    admin, url = values("100 HS_ADMIN 86400 1110 ADMIN\n300:111111111111:88.1/A\n1 URL 86400 1110 UTF8 x")
    assert Admin.decode(admin.value.data).permissions == 0x0FFF
    assert url.value.data == b"x"


def test_a_list_is_read_with_and_without_its_last_semicolon() -> None:
    for ending in ("", ";", " ; "):
        (line,) = values(f"1 HS_VLIST 86400 1110 LIST 300:88.1/A; 0:88.1/B{ending}")
        assert ValueReferences.decode(line.value.data).members == (
            ValueReference(b"88.1/A", 300),
            ValueReference(b"88.1/B", 0),
        )


def test_a_secret_is_taken_as_it_stands() -> None:
    (who,) = read("AUTHENTICATE SECKEY:300:88.1/A\n# no remark, a:secret|with signs\n")
    assert isinstance(who, Authenticate)
    assert who.secret == b"# no remark, a:secret|with signs"
    assert "secret" not in repr(who).replace("secret=", "")


def test_what_may_hold_secrets_shows_in_no_representation() -> None:
    entries = read(WHOLE + "\nCREATE 88.1/x\n300 HS_SECKEY 86400 1100 UTF8 hush\n")
    assert not any("sesame" in repr(entry) or "hush" in repr(entry) for entry in entries)


def test_windows_line_ends_and_a_byte_order_mark_are_no_fault() -> None:
    assert len(read(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode())) == len(read(WHOLE))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("FROBNICATE 88.1/x", 1, "none of AUTHENTICATE"),
        ("CREATE 88.1/x\n\n1 URL 86400 1110 UTF8 x", 1, "followed by no value"),
        ("CREATE\n1 URL 86400 1110 UTF8 x", 1, "no handle"),
        ("CREATE 88.1/x\n0 URL 86400 1110 UTF8 x", 2, "from 1 to"),
        ("CREATE 88.1/x\n9999999999 URL 86400 1110 UTF8 x", 2, "from 1 to"),
        ("CREATE 88.1/x\n1 URL -1 1110 UTF8 x", 2, "number of seconds"),
        ("CREATE 88.1/x\n1 URL 99999999999999 1110 UTF8 x", 2, "number of seconds"),
        ("CREATE 88.1/x\n1 URL 86400 111 UTF8 x", 2, "four digits"),
        ("CREATE 88.1/x\n1 URL 86400 1112 UTF8 x", 2, "four digits"),
        ("CREATE 88.1/x\n1 URL 86400 1110 HEX 00", 2, "none of UTF8"),
        ("CREATE 88.1/x\n1 URL 86400 1110 UTF8", 2, "no data"),
        ("CREATE 88.1/x\n1 URL", 2, "a value is index"),
        ("CREATE 88.1/x\n1 URL 1 1110 UTF8 x\n1 URL 1 1110 UTF8 y", 3, "second value"),
        ("CREATE 88.1/x\n1 HS_ADMIN 1 1110 ADMIN 300:1111:88.1/A", 2, "twelve digits"),
        ("CREATE 88.1/x\n1 HS_ADMIN 1 1110 ADMIN 9999999999:111111111111:88.1/A", 2, "32 bits"),
        ("CREATE 88.1/x\n1 HS_VLIST 1 1110 LIST 88.1/A", 2, "index:handle"),
        ("REMOVE 88.1/x", 1, "indexes and a handle"),
        ("REMOVE 0:88.1/x", 1, "indexes and a handle"),
        ("REMOVE 1,x:88.1/x", 1, "indexes and a handle"),
        ("DELETE", 1, "no handle"),
        ("HOME 192.0.2.1:2641\n0.NA/88.1", 1, "address:port"),
        ("HOME 192.0.2.1:99999:TCP\n0.NA/88.1", 1, "address:port"),
        ("HOME 192.0.2.1:2641:GOPHER\n0.NA/88.1", 1, "address:port"),
        ("HOME 192.0.2.1:2641:TCP\n88.1", 2, "no prefix record"),
        ("HOME 192.0.2.1:2641:TCP\n", 1, "no prefix record"),
        ("AUTHENTICATE SECKEY:300:88.1/A\n\n", 1, "AUTHENTICATE is followed"),
        ("AUTHENTICATE PASSWORD:300:88.1/A\nx", 1, "AUTHENTICATE is followed"),
        ("SESSIONSETUP\nOPTIONS:111", 1, "USESESSION"),
        ("SESSIONSETUP\nUSESESSION:1\nOPTIONS:maybe", 1, "OPTIONS"),
        ("SESSIONSETUP\nUSESESSION:1\nTIMEOUT:99999999999999999999", 1, "TIMEOUT"),
        ("SESSIONSETUP\nUSESESSION:1\nCOLOUR:red", 3, "nothing about sessions"),
        (b"DELETE 88.1/\xff", 1, "no UTF-8"),
        ("DELETE " + "x" * 3_000, 1, "no handle"),
        ("DELETE " + "x" * MAX_LINE_OCTETS, 1, "no UTF-8, or longer"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_nothing_else_suffers(
    text: str | bytes, line: int, said: str
) -> None:
    octets = text if isinstance(text, bytes) else text.encode()
    found = read(octets + b"\n\nDELETE 88.1/next\n")
    wrong = [entry for entry in found if isinstance(entry, Fault)]
    assert wrong[0].line == line
    assert said in wrong[0].message
    assert isinstance(found[-1], Write)
    assert str(found[-1].handle) == "88.1/next"


def test_a_block_is_bounded_whatever_its_lines_add_up_to() -> None:
    size = MAX_LINE_OCTETS - 100
    lines = [f"{index} URL 86400 1110 UTF8 {'x' * size}" for index in range(1, 2 + MAX_BLOCK_OCTETS // size)]
    (fault,) = faults("\n".join(["CREATE 88.1/x", *lines]))
    assert "more values" in fault[1]


def test_a_survey_counts_operations_and_tells_a_bounded_number_of_faults() -> None:
    count, wrong = survey_batch(io.BytesIO(WHOLE.encode() + b"\nX\n" * 100))
    assert count == 9
    assert len(wrong) == 20


@given(
    st.binary(max_size=400) | st.text(alphabet="CREATEDLADMIN 0123:;,.#/\n|[]", max_size=400).map(str.encode)
)
def test_any_octets_are_entries_or_faults(octets: bytes) -> None:
    for entry in read(octets):
        assert entry.line >= 1
        assert entry.text


class TestFiles:
    """What FILE lines may name."""

    @staticmethod
    def value(name: str, kind: str = "HS_PUBKEY") -> ValueLine:
        """A value whose data are in a file."""
        return ValueLine(HandleValue(index=1, type=kind, data=b""), name)

    def test_a_file_beside_the_batch_or_in_an_opened_directory_is_read(self, tmp_path: Path) -> None:
        inside, opened = tmp_path / "batch", tmp_path / "opened"
        for directory in (inside, opened):
            directory.mkdir()
            (directory / "key.bin").write_bytes(directory.name.encode())
        files = Files([inside, opened])
        assert files.value(self.value("key.bin")).data == b"batch"
        assert files.value(self.value(str(opened / "key.bin"))).data == b"opened"

    def test_no_other_file_is_sent_to_a_server(self, tmp_path: Path) -> None:
        inside = tmp_path / "batch"
        inside.mkdir()
        (tmp_path / "secret").write_bytes(b"secret")
        (inside / "link").symlink_to(tmp_path / "secret")
        files = Files([inside])
        for name in ("../secret", str(tmp_path / "secret"), "link", "/proc/self/environ", "\0", ".", "none"):
            with pytest.raises(InvalidValue):
                files.value(self.value(name))

    def test_a_file_that_no_message_carries_is_not_read_whole(self, tmp_path: Path) -> None:
        with (tmp_path / "large").open("wb") as stream:
            stream.truncate(10**12)
        with pytest.raises(InvalidValue, match="more octets"):
            Files([tmp_path]).value(self.value("large"))

    def test_a_site_may_be_written_as_servers_keep_their_own(self, tmp_path: Path) -> None:
        import json

        (tmp_path / "siteinfo.json").write_text(json.dumps(keys()["siteinfo_json"]))
        value = Files([tmp_path]).value(self.value("siteinfo.json", "HS_SITE"))
        assert len(Site.decode(value.data).servers) == 1
        (tmp_path / "broken.json").write_text("{")
        with pytest.raises(InvalidValue):
            Files([tmp_path]).value(self.value("broken.json", "HS_SITE"))
