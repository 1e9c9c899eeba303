"""Settings: one TOML file per daemon, overridden by the environment, checked as a whole.

Every fault is reported at once, with file, key and what would be right. A field may be overridden as
HANDLEGRID_<TABLE>_<FIELD>; lists are written there with commas, tables as JSON.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from protocol.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "HANDLEGRID"
TABLES: Final = ("registry", "resolver")
SECRET: Final = Meta(extra={"secret": True})
SecretText = Annotated[str, SECRET]
"""A text that show() prints as ***."""
_HIDDEN: Final = "***"
_PASSWORD_IN_URL: Final = re.compile(r"(://[^/@:\s]*:)[^@\s]*(@)")
_PASSWORD_IN_DSN: Final = re.compile(r"(password\s*=\s*)('[^']*'|\S+)", re.IGNORECASE)

Settings = TypeVar("Settings", bound=msgspec.Struct)


def load_settings(
    path: Path | None,
    table: str,
    struct_type: type[Settings],
    environment: Mapping[str, str],
) -> Settings:
    """The settings of one table of a TOML file, with the environment's overrides.

    path: None for defaults and environment alone. struct_type: a frozen msgspec Struct; when it has a method faults()
    -> list of sentences, that judges rules across fields. A relative Path is taken from the file's folder. Raises
    SettingsError with every fault.
    """
    faults: list[str] = []
    document = {} if path is None else _read(path)
    source = "settings" if path is None else str(path)
    given = _table(document, table, source, faults)
    fields = {field.name: field for field in msgspec.structs.fields(struct_type)}
    faults.extend(
        unknown_name(name, fields, f"{source}: [{table}] {name}") for name in given if name not in fields
    )
    origins = {name: f"{source}: [{table}] {name}" for name in fields}
    given = {name: value for name, value in given.items() if name in fields}
    overrides = _overrides(fields, f"{ENVIRONMENT_PREFIX}_{table.upper()}_", environment, faults)
    for name, (variable, value) in overrides.items():
        given[name] = value
        origins[name] = variable
    folder = Path.cwd() if path is None else path.absolute().parent
    values: dict[str, Any] = {}
    for name, value in given.items():
        with suppress(_Unsound):
            values[name] = _convert(value, fields[name].type, folder, origins[name], faults)
    required = {name for name, field in fields.items() if field.required}
    faults.extend(
        f"{origins[name]}: is missing; it has no safe default"
        for name in fields
        if name in required and name not in given
    )
    if not required <= values.keys():
        raise SettingsError(faults)
    settings = struct_type(**values)
    unsound = given.keys() - values.keys()
    faults.extend(f"{source}: [{table}] {fault}" for fault in _judge(settings, unsound))
    if faults:
        raise SettingsError(faults)
    return settings


def _judge(settings: msgspec.Struct, unsound: Collection[str]) -> list[str]:
    """What the settings say about themselves; a field whose value could not be used counts as left out."""
    judge = getattr(settings, "faults", None)
    found: list[str] = [] if judge is None else judge()
    return [fault for fault in found if fault.partition(":")[0] not in unsound]


def show(settings: msgspec.Struct) -> str:
    """The settings as TOML-like lines, one for each field, defaults included; secrets print as ***."""
    lines = []
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value is not None:
            hidden = _is_secret(field.type) and bool(value)
            lines.append(f"{field.name} = {json.dumps(_HIDDEN) if hidden else _format(value)}")
    return "\n".join(lines)


def read_secret(name: str, path: Path) -> str:
    """What the file holds that the setting of this name gives, such as a DSN. Raises SettingsError."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{name}: cannot read {path}: {error}"]) from None
    if not secret:
        raise SettingsError([f"{name}: {path} is empty; write into it what the setting stands for"])
    return secret


def hide_passwords(text: str) -> str:
    """A text whose database addresses have lost their passwords."""
    return _PASSWORD_IN_DSN.sub(rf"\1{_HIDDEN}", _PASSWORD_IN_URL.sub(rf"\1{_HIDDEN}\2", text))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError([f"{path}: there is no such file"]) from error
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: is not UTF-8 text"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: is not TOML: {error}"]) from error


def _table(document: dict[str, Any], table: str, source: str, faults: list[str]) -> dict[str, Any]:
    known = {*TABLES, table}
    faults.extend(unknown_name(name, known, f"{source}: [{name}]") for name in document if name not in known)
    given = document.get(table, {})
    if not isinstance(given, dict):
        faults.append(f"{source}: {table} must be a table, written [{table}]")
        return {}
    return given


def unknown_name(name: str, known: Iterable[str], where: str) -> str:
    """The fault of a name that stands nowhere, with the nearest one that does."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{where}: is not known{hint}"


def _overrides(
    fields: Mapping[str, msgspec.structs.FieldInfo],
    prefix: str,
    environment: Mapping[str, str],
    faults: list[str],
) -> dict[str, tuple[str, Any]]:
    """By field: the variable that overrides it, and its value."""
    found: dict[str, tuple[str, Any]] = {}
    for variable, text in environment.items():
        if not variable.startswith(prefix):
            continue
        name = variable.removeprefix(prefix).lower()
        if name in fields:
            found[name] = variable, _from_environment(text, fields[name].type)
        else:
            faults.append(unknown_name(name, fields, variable))
    return found


def _from_environment(text: str, wanted: Any) -> Any:
    origin = get_origin(_bare(wanted))
    if text.lstrip()[:1] in {"[", "{"} and origin is not None:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    if origin in {list, tuple, set, frozenset}:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


class _Unsound(Exception):
    """A value is none that its field can have; the fault is noted."""


def _convert(value: Any, wanted: Any, folder: Path, where: str, faults: list[str]) -> Any:
    def make(kind: type, raw: Any) -> Any:
        if kind is Path and isinstance(raw, str) and raw:
            return folder / _expanded(raw)
        raise ValueError(f"expected {kind.__name__}")

    try:
        return msgspec.convert(value, wanted, strict=False, dec_hook=make)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        told = "" if _is_secret(wanted) else f", not {json.dumps(value, default=str)}"
        faults.append(f"{where}: {str(error)[:1].lower()}{str(error)[1:]}{told}")
        raise _Unsound from None


def _expanded(path: str) -> Path:
    """The path with ~ and ~user made the home directory. Raises ValueError for a user who is none, or has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(
            f"nobody's home directory is known as {path.partition('/')[0]}; write the whole path"
        ) from None


def _bare(wanted: Any) -> Any:
    return get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted


def _is_secret(wanted: Any) -> bool:
    """Whether a field's type, or one alternative of it, is marked as secret."""
    if get_origin(wanted) is Annotated:
        metas = get_args(wanted)[1:]
        return any(isinstance(meta, Meta) and bool((meta.extra or {}).get("secret")) for meta in metas)
    return any(_is_secret(part) for part in get_args(wanted))


def _format(value: Any) -> str:
    plain = msgspec.to_builtins(value, enc_hook=str)
    return hide_passwords(json.dumps(plain, ensure_ascii=False))
