"""The root bundle: a file in the form of CNRI's bootstrap_handles that says where the root service is.

JSON: `lastUpdate` in milliseconds, and `handles`, a record by name; the record 0.NA/0.NA holds the root's site values.
Source: PROTOCOL.md §7.1 and §8.4; CNRI's tools read the same file.
"""

import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from protocol.client.delegation import GLOBAL_SERVICE, read_sites
from protocol.errors import HandleError, SettingsError
from protocol.handle import Handle
from protocol.jsonform import value_to_json, values_from_json
from protocol.site import Service
from protocol.value import HandleValue, ValueList
from protocol.valuetypes.hs_site import HOME_SITE_TYPES

MAX_BUNDLE_OCTETS: Final = 4_194_304  # CNRI's has 90,000
ROOT_NAME: Final = "the root service"
_MILLISECONDS: Final = 1_000

Records = Mapping[Handle, Iterable[HandleValue]]


def load_bundle(path: Path) -> Service:
    """Load the root service from a bundle file.

    Raises SettingsError that names the file and what is wrong, also when it names no site with a server.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_BUNDLE_OCTETS + 1)
    except OSError as error:
        raise SettingsError([f"cannot read the root bundle {path}: {error.strerror or error}"]) from error
    try:
        return parse_bundle(octets)
    except HandleError as error:
        raise SettingsError([f"{path} is no root bundle: {error}"]) from error


def parse_bundle(octets: bytes) -> Service:
    """Read the root service out of a bundle's octets. Raises SettingsError or another HandleError."""
    if len(octets) > MAX_BUNDLE_OCTETS:
        raise SettingsError([f"it has more than {MAX_BUNDLE_OCTETS} octets"])
    try:
        form = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise SettingsError([f"it is not JSON: {error}"]) from error
    record = _root_record(form)
    sites = read_sites(ValueList.of(values_from_json(record)), HOME_SITE_TYPES)
    usable = tuple(site for site in sites if site.servers)
    if not usable:
        raise SettingsError(["its record 0.NA/0.NA holds no HS_SITE value with a server"])
    return Service(ROOT_NAME, usable)


def format_bundle(records: Records, *, updated_ms: int) -> str:
    """Write the records as a bundle's text. updated_ms: Unix milliseconds at which they were true."""
    handles = {
        str(handle): {"handle": str(handle), "values": [value_to_json(value) for value in values]}
        for handle, values in records.items()
    }
    return json.dumps({"lastUpdate": updated_ms, "handles": handles}, indent=2, ensure_ascii=False) + "\n"


def write_bundle(path: Path, records: Records, *, updated_ms: int | None = None) -> None:
    """Write a bundle file in one step, so that a reader sees the old file or the whole new one.

    records must hold 0.NA/0.NA with a site. updated_ms: now when left out. Raises SettingsError for records that
    load_bundle() would refuse, OSError when the file cannot be written.
    """
    now_ms = int(time.time() * _MILLISECONDS) if updated_ms is None else updated_ms
    text = format_bundle(records, updated_ms=now_ms)
    parse_bundle(text.encode())
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        file.write(text)
    try:
        temporary.chmod(0o644)  # public data: every daemon of the host reads it
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _root_record(form: Any) -> Any:
    handles = form.get("handles") if isinstance(form, dict) else None
    if not isinstance(handles, dict):
        raise SettingsError(["it has no object `handles`"])
    name = str(GLOBAL_SERVICE)
    record = next((record for key, record in handles.items() if key.upper() == name), None)
    if record is None:
        raise SettingsError([f"it has no record {name}"])
    return record
