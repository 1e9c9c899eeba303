"""Who may import whom: both daemons know protocol alone, the core does no I/O, files look upwards."""

from typing import Final

import pytest

from tests.support.tree import ROOT, imported_modules, module_name, python_files, relative

FORBIDDEN: Final = {
    "protocol": ("registry", "resolver", "deploy", "benchmarks", "tests"),
    "registry": ("resolver", "deploy", "benchmarks", "tests"),
    "resolver": ("registry", "deploy", "benchmarks", "tests"),
    "deploy": ("benchmarks", "tests"),
}

IMPURE: Final = (
    "asyncio",
    "socket",
    "ssl",
    "time",
    "random",
    "secrets",
    "os",
    "subprocess",
    "select",
    "aiohttp",
)
"""What the pure core of protocol/ must not import: I/O, clocks and randomness."""

IMPURE_PARTS: Final = ("transport", "client", "generations", "runtime")
"""The parts of protocol/ that may (ARCHITECTURE: everything else takes time and octets as arguments)."""

PURE_MODULES: Final = (
    "protocol.client.resolution",
    "protocol.client.selection",
    "protocol.runtime.day_counters",
    "registry.allocation.lifecycle",
    "registry.allocation.records",
    "registry.allocation.rules",
    "registry.authority",
    "registry.namespaces.building",
    "registry.namespaces.patterns",
    "registry.namespaces.substitution",
    "registry.namespaces.template",
    "registry.permission",
    "resolver.cache.policy",
    "resolver.gateway_query",
    "resolver.locations",
    "resolver.targets",
)
"""Modules outside the core that decide and nothing else."""

ORDER: Final = {
    "protocol": [
        "codes",
        "errors",
        "wire",
        "handle",
        "statuses",
        "value",
        "site",
        "valuetypes",
        "jsonform",
        "bodies",
        "message",
        "dissection",
        "packets",
        "signature",
        "admin_bodies",
        "credential",
        "challenge",
        "private_key",
        "diffie_hellman",
        "session",
        "replication",
        "encryption",
        "short_answer",
        "usual",
        "generations",
        "transport",
        "client",
        "conformance",
        "runtime",
    ],
    "registry": [
        "namespaces",
        "record",
        "lookups",
        "settings",
        "ids",
        "text",
        "outcomes",
        "metrics",
        "problem_types",
        "plain_http",
        "authority",
        "permission",
        "secret_files",
        "node_keys",
        "seal",
        "database",
        "migrations",
        "migrate",
        "prefixes",
        "writing",
        "reads",
        "read_lane",
        "store",
        "lookup_facts",
        "authenticate",
        "elsewhere",
        "context",
        "audit",
        "work",
        "reservations",
        "rows",
        "creation",
        "changes",
        "transaction",
        "templating",
        "homing",
        "listing",
        "resolution",
        "operations",
        "gathering",
        "single_creations",
        "sequencer",
        "own_site",
        "initialise",
        "node",
        "bulk",
        "dump_import",
        "row_progress",
        "searching",
        "lookup_building",
        "statistics",
        "accounts",
        "allocation",
        "delegation",
        "identifiers",
        "peers",
        "wire",
        "api",
        "resealing",
        "key_rotation",
        "client",
        "rest",
        "console",
        "health",
        "daemon",
        "worker",
        "__main__",
    ],
    "resolver": [
        "settings",
        "metrics",
        "cache",
        "forwarding",
        "recursor",
        "short_way",
        "observer",
        "statistics",
        "scheme",
        "targets",
        "http_headers",
        "locations",
        "shared_locations",
        "aliases",
        "pages",
        "wire_server",
        "http_replies",
        "gateway_query",
        "gateway",
        "http_api",
        "daemon",
        "worker",
        "__main__",
    ],
}
"""A file imports only from files of its package that stand before it here."""


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_packages_below_it(package: str) -> None:
    offences = [
        f"{relative(path)}:{line} imports {module}"
        for path in python_files(package)
        for module, line in imported_modules(path)
        if module.split(".")[0] in FORBIDDEN[package]
    ]
    assert not offences, "\n".join(offences)


def test_the_core_of_the_protocol_does_no_input_output_and_knows_no_clock() -> None:
    offences = [
        f"{relative(path)}:{line} imports {module}"
        for path in python_files("protocol")
        if (name := module_name(path)) in PURE_MODULES or not _is_impure(name)
        for module, line in imported_modules(path)
        if module.split(".")[0] in IMPURE
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("name", PURE_MODULES)
def test_a_pure_module_does_no_input_output_and_knows_no_clock(name: str) -> None:
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    offences = [
        f"{line}: {module}" for module, line in imported_modules(path) if module.split(".")[0] in IMPURE
    ]
    assert not offences, f"{relative(path)} imports " + ", ".join(offences)


def _is_impure(name: str) -> bool:
    parts = name.split(".")
    return len(parts) > 1 and parts[1] in IMPURE_PARTS


@pytest.mark.parametrize("package", ORDER)
def test_a_file_imports_only_from_files_above_it(package: str) -> None:
    order = ORDER[package]
    offences = []
    for path in python_files(package):
        parts = module_name(path).split(".")
        if len(parts) == 1:  # the package itself re-exports
            continue
        offences += [
            f"{relative(path)}:{line} imports {module}"
            for module, line in imported_modules(path)
            if (other := module.split("."))[0] == package
            and len(other) > 1
            and other[1] in order
            and order.index(other[1]) > order.index(parts[1])
        ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("package", ORDER)
def test_every_file_has_a_place_in_the_order(package: str) -> None:
    names = {
        module_name(path).split(".")[1] for path in python_files(package) if path.parent != ROOT / package
    }
    names |= {path.stem for path in python_files(package) if path.parent == ROOT / package} - {"__init__"}
    assert names <= set(ORDER[package]), f"add to ORDER: {sorted(names - set(ORDER[package]))}"
