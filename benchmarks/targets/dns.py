"""Name servers to measure beside: Unbound and PowerDNS Authoritative, when they are installed."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

from benchmarks.import_rate import Laboratory
from benchmarks.load.requests import dns_requests, shuffled
from benchmarks.load.run import Address
from benchmarks.record import record
from benchmarks.targets.process import LOOPBACK, Server, answers_udp, free_port, started

ZONE: Final = "bench.example"
PROBE: Final = dns_requests(shuffled(1, first=999_999_999)).template
QUERY_RATE: Final = re.compile(r"Queries per second:\s+([\d.]+)")
ANSWERED: Final = re.compile(r"Queries completed:\s+(\d+)")
UNBOUND: Final = """
server:
    do-daemonize: no
    use-syslog: no
    verbosity: 0
    chroot: ""
    username: ""
    pidfile: ""
    directory: "{directory}"
    interface: 127.0.0.1
    port: {port}
    access-control: 127.0.0.0/8 allow
    num-threads: 1
    so-rcvbuf: 4m
    do-not-query-localhost: no
    module-config: "iterator"
    root-hints: ""
    msg-cache-size: 512m
    rrset-cache-size: 1024m
    outgoing-range: 4096
    udp-connect: no
    num-queries-per-thread: 2048
    minimal-responses: yes
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{authority}
"""
SCHEMA: Final = """
    CREATE TABLE domains (
        id serial PRIMARY KEY, name varchar(255) NOT NULL UNIQUE, master varchar(128), last_check int,
        type text NOT NULL, notified_serial bigint, account varchar(40), options text, catalog text);
    CREATE TABLE records (
        id bigserial PRIMARY KEY, domain_id int, name varchar(255), type varchar(10), content varchar(65535),
        ttl int, prio int, disabled bool DEFAULT 'f', ordername varchar(255), auth bool DEFAULT 't');
    CREATE TABLE domainmetadata (id serial PRIMARY KEY, domain_id int, kind varchar(32), content text);
    INSERT INTO domains (name, type) VALUES ('bench.example', 'NATIVE');
    INSERT INTO records (domain_id, name, type, content, ttl)
        VALUES (1, 'bench.example', 'SOA', 'ns.bench.example hostmaster.bench.example 1 3600 600 86400 60', 3600);"""
ROWS: Final = """
    INSERT INTO records (domain_id, name, type, content, ttl)
        SELECT 1, 'n' || lpad(number::text, 9, '0') || '.bench.example', 'TXT', $1, 3600
        FROM generate_series(0, $2::int - 1) AS number"""
INDEXES: Final = """
    CREATE INDEX records_by_name ON records (name, type);
    CREATE INDEX records_by_domain ON records (domain_id);"""


def installed(program: str) -> str | None:
    """Where a program is; those of system administration are looked for as well."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


@contextmanager
def unbound(directory: Path, authority: Address, name: str = "Unbound") -> Iterator[Server]:
    """Unbound with one thread, that forwards everything to one authority. It must be installed."""
    program = installed("unbound")
    assert program is not None, "asked before"
    port = free_port()
    path = directory / f"{name.replace(' ', '-').lower()}.conf"
    path.write_text(UNBOUND.format(directory=directory, port=port, authority=authority[1]))
    with started(
        [program, "-d", "-c", path], path.with_suffix(".log"), is_ready=lambda: answers_udp(port, PROBE)
    ) as pid:
        yield Server(name=name, address=(LOOPBACK, port), parts={"server": pid})


@contextmanager
def powerdns(made: Laboratory, rows: int) -> Iterator[Server]:
    """PowerDNS Authoritative, without caches, on the laboratory's Postgres with so many records."""
    program = installed("pdns_server")
    assert program is not None, "asked before"
    dsn = asyncio.run(_filled(made, rows))
    port = free_port()
    host = parse_qs(urlsplit(dsn).query)["host"][0]
    directory = made.directory / "powerdns"
    directory.mkdir()
    settings = {
        "config-dir": directory,
        "socket-dir": directory,
        "daemon": "no",
        "guardian": "no",
        "launch": "gpgsql",
        "gpgsql-host": host,
        "gpgsql-user": "postgres",
        "gpgsql-dbname": "powerdns",
        "gpgsql-dnssec": "no",
        "local-address": LOOPBACK,
        "local-port": port,
        "cache-ttl": 0,
        "query-cache-ttl": 0,
        "negquery-cache-ttl": 0,
    }
    command = [program, *(f"--{key}={value}" for key, value in settings.items())]
    assert made.server.process is not None
    with started(command, directory / "powerdns.log", is_ready=lambda: answers_udp(port, PROBE)) as pid:
        yield Server(
            name="PowerDNS",
            address=(LOOPBACK, port),
            parts={"daemon": pid, "postgres": made.server.process.pid},
        )


async def _filled(made: Laboratory, rows: int) -> str:
    administrator = await asyncpg.connect(made.server.dsn())
    await administrator.execute("CREATE DATABASE powerdns")
    await administrator.close()
    dsn = made.server.dsn("powerdns")
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA)
    text = record().octets.hex()[:250]
    await connection.execute(ROWS, f'"{text}"', rows)
    await connection.execute(INDEXES)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return dsn


def dnsperf(server: Server, names: Path, *, seconds: float, window: int) -> tuple[int, float]:
    """Load a name server with dnsperf. Returns answers, and answers per second."""
    program = installed("dnsperf")
    assert program is not None, "asked before"
    host, port = server.address
    command = [program, "-s", host, "-p", str(port), "-d", str(names), "-l", str(max(1, round(seconds)))]
    command += ["-q", str(window), "-c", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    answered, rate = ANSWERED.search(done.stdout), QUERY_RATE.search(done.stdout)
    assert answered is not None, done.stdout
    assert rate is not None, done.stdout
    return int(answered[1]), float(rate[1])


def dnsperf_names(path: Path, count: int) -> Path:
    """Write dnsperf's list of names."""
    path.write_text("".join(f"n{number:09}.{ZONE} TXT\n" for number in range(count)), encoding="ascii")
    return path
