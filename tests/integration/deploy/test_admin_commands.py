"""`handlegrid admin` against a node on real sockets: single operations, lists, batches that stop and go on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.batch.files import Files
from deploy.batch.report import FailedFile, Report
from deploy.batch.run import Batch
from deploy.batch.syntax import ServerPlace
from deploy.commands.key import key_in
from deploy.key_forms import PrivateForm, PublicForm, write_private, write_public
from protocol.client.administration import Administration, SessionUse
from protocol.client.identity import Identity, SecretIdentity
from protocol.client.places import NamedPlace, ask_for_site
from protocol.errors import Unreachable
from protocol.message import decode_envelope
from protocol.site import InterfaceProtocol
from protocol.transport.exchanger import Exchanger
from protocol.value import HandleValue, ValueReference
from tests.integration.deploy.commanding import Ended, run
from tests.support.keys import admin_key
from tests.support.postgres import TestPostgres
from tests.support.wired import ADMIN, Wired, fresh, wired

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANY_KEY = f"0:{ADMIN}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(postgres: TestPostgres) -> AsyncIterator[Wired]:
    """Give the module's node, whose administrator has an RSA key beside the secret, and any key every right."""
    async with wired(postgres, server_admins=[ANY_KEY]) as made:
        key = write_public(admin_key(), PublicForm.BLOB, index=301)
        reply = await made.writer().add(ADMIN, HandleValue(index=301, type="HS_PUBKEY", data=key))
        assert reply.rc == 1, reply.text
        yield made


class Terminal:
    """Somebody at a terminal, with files."""

    def __init__(self, node: Wired, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.secret = self.file("secret", node.secret)
        self.key = self.file("admpriv.bin", write_private(admin_key(), PrivateForm.HANDLE))

    def file(self, name: str, content: bytes | str) -> Path:
        """Write a file that is its owner's alone."""
        path = self.directory / name
        path.touch(0o600)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def place(self, transport: str = "tcp") -> str:
        """Where the node listens."""
        places = self.node.node.addresses
        return "{}:{}".format(*{"udp": places.udp, "tcp": places.tcp, "http": places.http}[transport][0])

    def by_secret(self, transport: str = "tcp") -> tuple[str, ...]:
        """Options of the administrator with his secret."""
        who = ("--as", f"300:{ADMIN}", "--secret-file", str(self.secret))
        return (*who, "--server", self.place(transport), "--transport", transport)

    def by_key(self, transport: str = "tcp") -> tuple[str, ...]:
        """Options of the administrator with his key."""
        who = ("--as", f"301:{ADMIN}", "--private-key", str(self.key))
        return (*who, "--server", self.place(transport), "--transport", transport)

    async def run(self, *words: str, code: int = 0) -> Ended:
        """Run a command of `handlegrid admin`."""
        return await run("admin", *words, code=code)

    async def data(self, name: str) -> dict[int, str]:
        """The public values of a handle."""
        reply = await self.node.client().resolve(name)
        return (
            {value.index: value.data.decode() for value in reply.values if value.type == "URL"}
            if reply.rc == 1
            else {}
        )


@pytest.fixture
def terminal(node: Wired, tmp_path: Path) -> Terminal:
    """Give somebody at a terminal."""
    return Terminal(node, tmp_path)


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
@pytest.mark.parametrize("session", ["--session", "--no-session"])
async def test_single_operations_are_done_and_told(terminal: Terminal, transport: str, session: str) -> None:
    name = fresh()
    secret, key = (*terminal.by_secret(transport), session), (*terminal.by_key(transport), session)

    made = await terminal.run("create", name, "1:URL=https://a.example", "--admin", ANY_KEY, *secret)
    await terminal.run("add", name, "2:URL=https://b.example", *key)
    await terminal.run("modify", name, "2:URL=https://c.example", *key)
    await terminal.run("remove", name, "1", *secret)
    assert await terminal.data(name) == {2: "https://c.example"}
    deleted = await terminal.run("delete", name, "--json", *key)

    assert made.out == f"{name}: created\n"
    assert deleted.json == {"handle": name, "result": "deleted"}
    assert await terminal.data(name) == {}


async def test_values_come_from_a_file_as_the_record_api_gives_them(terminal: Terminal) -> None:
    name = fresh()
    values = [{"index": 7, "type": "URL", "data": {"format": "string", "value": "https://a.example"}}]
    file = terminal.file("values.json", json.dumps({"values": values}))

    await terminal.run("create", name, "--values", str(file), *terminal.by_secret())

    assert await terminal.data(name) == {7: "https://a.example"}


async def test_a_refusal_has_its_code_its_remedy_and_its_exit_code(terminal: Terminal) -> None:
    name = fresh()
    await terminal.run("create", name, "1:URL=x", *terminal.by_secret())
    again = await terminal.run("create", name, "1:URL=x", "--json", *terminal.by_secret(), code=1)
    nobody = await terminal.run("delete", name, "--server", terminal.place(), code=1)
    wrong = terminal.file("wrong", "guessed")
    guessed = ("--as", f"300:{ADMIN}", "--secret-file", str(wrong), "--server", terminal.place())
    failed = await terminal.run("delete", name, *guessed, code=1)
    elsewhere = await terminal.run("delete", "99.9/x", *terminal.by_secret(), code=1)
    silent = await terminal.run("delete", name, *terminal.by_secret()[:4], "--server", "127.0.0.1:1", code=3)

    assert again.json["failure"]["responseCode"] == 101
    assert "--overwrite" in again.json["failure"]["cause"]
    assert "--as" in nobody.err
    assert "403" in failed.err
    assert "guessed" not in failed.err
    assert "does not home" in elsewhere.err
    assert "127.0.0.1" in silent.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "88.1/x"], "at least one value"),
        (["create", "88.1/x", "URL=x"], "INDEX:TYPE=DATA"),
        (["create", "88.1/x", "0:URL=x"], "from 1 to"),
        (["create", "88.1/x", "1:URL=x", "1:URL=y"], "the index 1"),
        (["create", "88.1/x", "300:HS_SECKEY=hush"], "file for --values"),
        (["create", "88.1/x", "1:URL=x", "--secret-file", "SECRET"], "--as INDEX:HANDLE"),
        (["create", "88.1/x", "1:URL=x", "--as", "ADMIN"], "INDEX:HANDLE"),
        (["create", "88.1/x", "1:URL=x", "--as", "300:88.1/A"], "no terminal"),
        (
            ["create", "88.1/x", "1:URL=x", "--as", "300:88.1/A", "--private-key", "SECRET"],
            "neither a private",
        ),
        (["delete", "88.1/x", "--certified", "--server", "127.0.0.1"], "--server-key"),
        (["delete", "88.1/x", "--server-key", "SECRET"], "that --server names"),
        (["remove", "88.1/x", "0"], "0"),
        (["list", "88.1/x"], "no prefix"),
    ],
)
async def test_a_command_line_that_cannot_be_used_is_said_so(
    terminal: Terminal, words: list[str], said: str
) -> None:
    ended = await terminal.run(
        *[str(terminal.secret) if word == "SECRET" else word for word in words], code=2
    )
    assert said in ended.err


@pytest.mark.parametrize("session", ["--session", "--no-session"])
async def test_an_administrator_is_shown_what_others_are_not(terminal: Terminal, session: str) -> None:
    name = fresh()
    hidden = {"index": 2, "type": "DESC", "data": "inside", "permissions": "1100"}
    values = terminal.file("values.json", json.dumps({"values": [hidden]}))
    await terminal.run("create", name, "1:URL=x", "--values", str(values), *terminal.by_secret())

    shown = await terminal.run("show", name, session, *terminal.by_secret())
    some = await terminal.run("show", name, session, "--index", "2", "--json", *terminal.by_secret())
    nobody = await terminal.run("show", name, session, "--server", terminal.place(), code=1)

    assert "inside" in shown.out
    assert [value["index"] for value in some.json["values"]] == [2]
    assert "inside" not in nobody.out
    assert "--as" in nobody.err


async def test_lists_come_as_lines_or_as_a_document(terminal: Terminal) -> None:
    names = {await terminal.node.created() for _ in range(3)}
    lines = await terminal.run("list", "88.1", *terminal.by_secret("http"))
    document = await terminal.run("list", "0.NA/88.1", "--json", *terminal.by_secret())
    few = await terminal.run("list", "88.1", "--limit", "2", *terminal.by_secret())
    assert names <= set(lines.out.splitlines())
    assert document.json["names"] == lines.out.splitlines()
    assert len(few.out.splitlines()) == 2


async def test_a_prefix_is_homed_and_unhomed(terminal: Terminal) -> None:
    assert (await terminal.run("home", "88.1.5", *terminal.by_secret())).out == "0.NA/88.1.5: homed\n"
    await terminal.run("create", "88.1.5/x", "1:URL=x", "--admin", ANY_KEY, *terminal.by_secret())
    await terminal.run("delete", "88.1.5/x", *terminal.by_secret())
    assert (
        await terminal.run("unhome", "0.NA/88.1.5", *terminal.by_secret())
    ).out == "0.NA/88.1.5: unhomed\n"


def create(name: str, data: str = "https://a.example") -> str:
    """A CREATE of a batch, six lines long with the empty one behind it."""
    return (
        f"CREATE {name}\n"
        f"100 HS_ADMIN 86400 1110 ADMIN {ANY_KEY.replace(':', ':111111111111:')}\n"
        f"1 URL 86400 1110 UTF8 {data}\n\n"
    )


async def test_a_batch_is_carried_out_in_one_session_and_what_is_refused_is_kept(terminal: Terminal) -> None:
    one, two, taken = fresh(), fresh(), await terminal.node.created()
    terminal.file("pub.bin", write_public(admin_key(), PublicForm.BLOB, index=1))
    batch = terminal.file(
        "batch.txt",
        f"AUTHENTICATE PUBKEY:301:{ADMIN}\nadmpriv.bin\n\n"
        + create(one)
        + create(taken)
        + create(two)
        + f"ADD {one}\n300 HS_PUBKEY 86400 1110 FILE pub.bin\n"
        + f"MODIFY {one}\n1 URL 86400 1110 UTF8 https://b.example\n"
        + f"REMOVE 100:{one}\n"
        + f"DELETE {two}\nDELETE {two}\n"
        + f"HOME {terminal.place()}:TCP\n0.NA/88.1.6\n\nUNHOME {terminal.place()}:tcp\n0.NA/88.1.6\n",
    )
    failed = terminal.directory / "failed.txt"
    where = ("--server", terminal.place())

    ended = await terminal.run("batch", str(batch), "--failed", str(failed), "--json", *where, code=1)

    assert await terminal.data(one) == {1: "https://b.example"}
    assert (ended.json["done"], ended.json["refused"], ended.json["resumeFromLine"]) == (8, 2, None)
    assert [(each["line"], each["responseCode"]) for each in ended.json["failures"]] == [(8, 101), (22, 100)]
    assert failed.stat().st_mode & 0o777 == 0o600
    kept = failed.read_text()
    assert f"CREATE {taken}\n" in kept
    assert "# line 8: " in kept
    assert (await terminal.run("batch", str(failed), "--check")).out.endswith(": 2 operations, no fault\n")
    assert (await terminal.run("batch", str(batch), "--failed", str(failed), *where, code=2)).out == ""


async def test_nothing_of_a_batch_with_a_fault_is_sent(terminal: Terminal) -> None:
    name = fresh()
    batch = terminal.file("batch.txt", create(name) + "CREATE 88.1/y\nnonsense\n")
    ended = await terminal.run("batch", str(batch), *terminal.by_secret(), code=2)
    assert "line 6: " in ended.err
    assert await terminal.data(name) == {}


async def test_a_batch_without_sessions_and_one_whose_key_is_missing(terminal: Terminal) -> None:
    name = fresh()
    alone = "SESSIONSETUP\nUSESESSION:0\n\n" + create(name)
    await terminal.run("batch", str(terminal.file("alone.txt", alone)), *terminal.by_secret())
    assert await terminal.data(name)
    missing = terminal.file("missing.txt", f"AUTHENTICATE PUBKEY:301:{ADMIN}\nnone.bin\n\nDELETE {name}\n")
    ended = await terminal.run("batch", str(missing), "--server", terminal.place(), code=2)
    assert "stopped at line 1: none.bin: No such file" in ended.out
    assert await terminal.data(name)


class Fused(Exchanger):
    """Loses the answer to the n-th message in a session, and everything after it."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    async def exchange_octets(self, *where: Any, **how: Any) -> bytes:
        """See Exchanger."""
        octets = await super().exchange_octets(*where, **how)
        self.left -= bool(decode_envelope(where[3]).session_id)
        if self.left <= 0:
            raise Unreachable("no answer in time", node="there")
        return octets


async def run_batch(
    terminal: Terminal, file: Path, exchanger: Exchanger, report: Report, advanced: Callable[[], None]
) -> None:
    """Run a batch in this very loop."""
    host, _, port = terminal.place().rpartition(":")

    async def connect(
        identity: Identity | None, sessions: SessionUse | None, place: ServerPlace | None
    ) -> Administration:
        assert place is None
        site = await ask_for_site(exchanger, InterfaceProtocol.TCP, host, int(port), patience_s=15)
        return Administration(exchanger, NamedPlace(site), identity, sessions=sessions)

    batch = Batch(
        report,
        connect,
        key_in,
        directory=file.parent,
        files=Files([file.parent]),
        identity=SecretIdentity(reference=ValueReference(ADMIN.encode(), 300), secret=terminal.node.secret),
        sessions=SessionUse(),
        failed=FailedFile(terminal.directory / "failed.txt"),
    )
    try:
        with file.open("rb") as stream:
            await batch.run(stream, advanced)
    finally:
        await exchanger.close()


async def test_a_batch_that_lost_its_server_goes_on_where_it_stopped(terminal: Terminal) -> None:
    names = [fresh() for _ in range(6)]
    batch = terminal.file("batch.txt", "".join(map(create, names)))

    report = Report()
    await run_batch(terminal, batch, Fused(4), report, lambda: None)  # the first one is challenged

    assert (report.done, report.refused, report.stopped_line) == (2, 0, 9)
    assert await terminal.data(names[2]), "it was done, and only the answer was lost"
    assert not await terminal.data(names[3])
    line = str(report.stopped_line)
    ended = await terminal.run("batch", str(batch), "--from-line", line, *terminal.by_secret(), code=1)
    assert "line 9: CREATE" in ended.out
    assert "already_exists" in ended.out
    assert ended.out.endswith("3 done, 1 refused, 2 passed over\n")
    assert all([await terminal.data(name) for name in names])


async def test_a_batch_that_somebody_interrupts_says_where_to_go_on(terminal: Terminal) -> None:
    names = [fresh() for _ in range(5)]
    batch = terminal.file("batch.txt", "".join(map(create, names)))
    report = Report()
    task: asyncio.Task[None]

    def advanced() -> None:
        if report.done == 3:
            task.cancel()

    task = asyncio.create_task(run_batch(terminal, batch, Exchanger(), report, advanced))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (report.done, report.stopped_line) == (3, 13)
    assert "interrupted" in report.to_text()
    ended = await terminal.run("batch", str(batch), "--from-line", "13", *terminal.by_secret(), code=0)
    assert "2 done, 0 refused, 3 passed over" in ended.out
    assert all([await terminal.data(name) for name in names])
