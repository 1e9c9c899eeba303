"""Authenticated writes: handles created by an administrator who proves who he is, over the wire and over HTTP.

    python -m benchmarks.authenticated_writes

One registry on a durable Postgres (fsync and synchronous_commit on), and beside it, on the same Postgres and in the
same rounds, a bare loop that inserts one row of the same octets and commits. Each is asked by one client, whose next
write begins when the last one is acknowledged, and by sixteen at once, each on a connection of its own. Clients are a
process of their own and keep their connections (KPAL over TCP). What proofs cost a client is spent beforehand where
that can be, so that what is measured is the server; signing by RSA cannot, and the share of a core that clients took is
told.

The aims are of a deployed Handle server, CNRI's 9.3.2, with one client thread: once and a half as many writes a second
on one connection, three times as many on sixteen.
"""

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.command import Options, run
from benchmarks.import_rate import Laboratory, laboratory
from benchmarks.load.result import Histogram, LoadResult
from benchmarks.load.run import Address
from benchmarks.record import PREFIX
from benchmarks.report import Bar, Outcome, Plot, Spread, at_least, compare, number
from benchmarks.rounds import Rounds, Sample, WrongAnswers, in_turn, measure
from benchmarks.targets import ours
from benchmarks.targets.process import Server, child, workspace
from benchmarks.writers.task import Place, Scheme, Task
from protocol.challenge import ITERATIONS, KEY_BITS
from protocol.handle import Prefix
from protocol.runtime.server_key import load_server_key, public_key_of
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import PublicKey
from registry.homing import HS_ADMIN_INDEX, admin_value
from registry.initialise import ADMIN_SECRET_FILE, SERVER_KEY_FILE, administrator_of
from registry.node import open_node
from registry.operations import Operations
from registry.outcomes import COMMAND, OPERATOR, Identity, Rejected
from registry.settings import load_registry_settings

CLIENTS: Final = (1, 16)
DEPLOYED_PER_S: Final = {Scheme.SECRET: 29.0, Scheme.RSA: 196.0, Scheme.SESSION: 573.0}
"""What a deployed Handle server took from one client thread on a machine like this one."""
TIMES_DEPLOYED: Final = {1: 1.5, 16: 3.0}
RSA_BITS: Final = 2_048
NUMBERS_PER_RUN: Final = 10_000_000
DERIVATION: Final = "PBKDF2 alone"
DERIVATIONS: Final = 50
BUSY_SHARE: Final = 0.9
"""Of a core: clients that take more may be what is measured."""


@dataclass(frozen=True, slots=True)
class Keys:
    """An administrator with a secret key and a private key."""

    identity: Identity
    secret: str
    private: rsa.RSAPrivateKey

    @property
    def by_private_key(self) -> Identity:
        """The same, by the public key beside the secret one."""
        return Identity(index=self.identity.index + 1, handle=self.identity.handle)


async def give_keys(operations: Operations, data_dir: Path) -> Keys:
    """Let the administrator of a node whose home is PREFIX have both kinds of keys, and all rights by either."""
    prefix = Prefix.parse(PREFIX)
    secret = (data_dir / ADMIN_SECRET_FILE).read_text().strip()
    private = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    keys = Keys(administrator_of(prefix), secret, private)
    public = HandleValue(
        index=keys.by_private_key.index,
        type="HS_PUBKEY",
        data=PublicKey.of_rsa(private.public_key()).encode(),
    )
    put = await operations.put_values(keys.identity.handle, ValueList.of([public]), by=OPERATOR)
    assert not isinstance(put, Rejected), put
    administrators = [
        admin_value(keys.identity),
        admin_value(keys.by_private_key, index=HS_ADMIN_INDEX + 1),
    ]
    async with operations.transaction(COMMAND) as transaction:
        await transaction.renew_authorisation(prefix.key, ValueList.of(administrators))
    return keys


def place_of(keys: Keys, data_dir: Path, handle: Address, http: Address, *, bare_dsn: str) -> Place:
    """What clients must know of a node."""
    pem = keys.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Place(
        host=handle[0],
        handle_port=handle[1],
        http_port=http[1],
        administrator=str(keys.identity.handle),
        secret=keys.secret,
        secret_index=keys.identity.index,
        private_key=pem.decode(),
        private_index=keys.by_private_key.index,
        server_key=public_key_of(load_server_key(data_dir / SERVER_KEY_FILE)).hex(),
        bare_dsn=bare_dsn,
    )


class Writers:
    """The clients' process. Each task has three lines: it is made ready for, run, and ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def sample(self, server: Server, task: Task) -> Sample:
        """Do a task, and count the time of the server while it runs. Raises WrongAnswers."""
        self._ask(json.dumps(asdict(task)))
        try:
            return measure(server, self._run)
        finally:
            self._tell("end")

    def _run(self) -> LoadResult:
        facts: dict[str, Any] = json.loads(self._ask("run"))
        latency, fault = Histogram(facts.pop("counts")), facts.pop("fault").encode()
        return LoadResult(latency=latency, first_wrong=fault, **facts)

    def _ask(self, line: str) -> str:
        self._tell(line)
        assert self._process.stdout is not None
        answer: str = self._process.stdout.readline()
        if not answer:
            raise WrongAnswers("the clients ended")
        return answer

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextmanager
def writers(place: Place) -> Iterator[Writers]:
    """Run the clients' process for the duration of the block."""
    command = [sys.executable, "-m", "benchmarks.writers"]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(place)) + "\n")
        try:
            yield Writers(process)
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()


def label(scheme: Scheme, clients: int) -> str:
    """What a target is called."""
    return f"{scheme}, {clients} client{'s' if clients > 1 else ''}"


def derive() -> Sample:
    """PBKDF2 as each proof by a secret key takes it, and nothing else."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for turn in range(DERIVATIONS):
        hashlib.pbkdf2_hmac("sha1", bytes(40), turn.to_bytes(16, "big"), ITERATIONS, KEY_BITS // 8)
    return Sample(
        answers=DERIVATIONS,
        answers_per_s=DERIVATIONS / (time.perf_counter() - began_s),
        cpu_s={"process": time.process_time() - cpu_s},
    )


@contextmanager
def targets(seconds: float) -> Iterator[dict[str, Callable[[], Sample]]]:
    """Everything that is measured in turn."""
    with ExitStack() as stack:
        stack.enter_context(workspace())
        made = stack.enter_context(laboratory())
        place, server = stack.enter_context(node(made))
        clients_of = stack.enter_context(writers(place))
        runs = count()
        assert made.server.process is not None
        bare = Server(name=Scheme.BARE, address=server.address, parts={"postgres": made.server.process.pid})

        def target(scheme: Scheme, clients: int) -> Callable[[], Sample]:
            def sample() -> Sample:
                task = Task(
                    scheme=scheme, clients=clients, seconds=seconds, first=next(runs) * NUMBERS_PER_RUN
                )
                return clients_of.sample(bare if scheme is Scheme.BARE else server, task)

            return sample

        found = {label(scheme, clients): target(scheme, clients) for clients in CLIENTS for scheme in Scheme}
        yield {**found, DERIVATION: derive}


@contextmanager
def node(made: Laboratory) -> Iterator[tuple[Place, Server]]:
    """A running registry, and what clients must know of it."""
    dsn = asyncio.run(made.empty_database("registry"))
    bare_dsn = asyncio.run(made.empty_database("bare"))
    data_dir = made.directory / "data"
    path = made.directory / "making.toml"
    ours.write_settings(path, "registry", database=dsn, data_dir=data_dir, homes=[PREFIX])
    keys = asyncio.run(_prepare(path))
    with ours.registry(made, "registry", dsn, plain_http_credentials="loopback") as server:
        http = server.address[0], server.http_port
        yield place_of(keys, data_dir, server.address, http, bare_dsn=bare_dsn), server


async def _prepare(settings_file: Path) -> Keys:
    settings = load_registry_settings(settings_file, {})
    async with open_node(settings) as opened:
        return await give_keys(opened.operations, settings.data_dir)


def report(rounds: Rounds) -> Outcome:
    """Aims and figures."""
    outcome = Outcome()
    derivation_s = 1 / Spread.of(rounds.per_cpu_s(DERIVATION)).median
    for clients in CLIENTS:
        bare = label(Scheme.BARE, clients)
        outcome.lines.append(compare(f"authenticated writes: {bare}", rounds.rates(bare), unit="writes/s"))
        for scheme in Scheme:
            if scheme is Scheme.BARE:
                continue
            name = label(scheme, clients)
            deployed = DEPLOYED_PER_S.get(scheme)
            outcome.lines.append(
                compare(
                    f"authenticated writes: {name}",
                    rounds.rates(name),
                    unit="writes/s",
                    beside=bare,
                    baselines=rounds.rates(bare),
                )
            )
            if deployed is not None:
                outcome.lines.append(
                    compare(
                        f"authenticated writes: {name}, against {number(deployed)} a second of a deployed server",
                        rounds.rates(name),
                        unit="writes/s",
                        aim=at_least(round(deployed * TIMES_DEPLOYED[clients])),
                    )
                )
            outcome.lines.append(
                compare(
                    f"authenticated writes: {name}",
                    rounds.per_cpu_s(name),
                    unit="writes/CPU-s",
                    note=where_it_goes(rounds, name, derivation_s if scheme is Scheme.SECRET else 0.0),
                )
            )
    outcome.lines.append(
        compare(f"authenticated writes: {DERIVATION}", rounds.per_cpu_s(DERIVATION), unit="keys/CPU-s")
    )
    for clients in CLIENTS:
        names = [label(scheme, clients) for scheme in Scheme]
        outcome.plots.append(
            Plot(
                name=f"authenticated_writes_{clients}",
                title=f"Authenticated writes a second, {clients} at once",
                bars=[Bar(name, Spread.of(rounds.rates(name))) for name in names],
            )
        )
    outcome.notes.append(
        "authenticated writes: clients keep their connections (KPAL), and have derived their keys, set up their "
        "sessions and proved them before the clock runs"
    )
    return outcome


def where_it_goes(rounds: Rounds, name: str, derivation_s: float) -> str:
    """CPU time of a write by part, and how busy the clients were. derivation_s: what PBKDF2 takes of it."""
    samples = rounds.samples[name]
    parts = {
        part: Spread.of(1 / rate for rate in rounds.per_cpu_s(name, part)).median for part in samples[0].cpu_s
    }
    text = ", ".join(f"{part} {number(cpu_s * 1_000)} ms" for part, cpu_s in parts.items())
    text = f"{text} of CPU each"
    if derivation_s:
        share = derivation_s / sum(parts.values())
        text += f", of which PBKDF2 is {number(derivation_s * 1_000)} ms ({share:.0%})"
    latency = f"median {number(Spread.of(rounds.p50_ms(name)).median)} ms"
    busy = Spread.of(sample.generator_share for sample in samples).median
    text += f"; {latency}; the clients took {busy:.0%} of a core"
    return f"{text}: THEY MAY BE WHAT IS MEASURED" if busy > BUSY_SHARE else text


def measurement(options: Options) -> Outcome:
    """Measure."""
    with targets(options.seconds) as found:
        for name, sample in found.items():
            if name != DERIVATION:
                sample()
        return report(in_turn(found, options.rounds, "authenticated writes"))


if __name__ == "__main__":
    run(measurement, __doc__)
