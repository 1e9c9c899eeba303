"""The root service's site information: loaded from the root bundle, loaded again when the file changes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from protocol.client.bootstrap import load_bundle
from protocol.errors import HandleError, SettingsError
from protocol.site import Service

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S: Final = 5.0  # between two looks at the file's date: cheap, and a moved root is found soon

_REMEDY: Final = "put there the bundle that the root published"

Fingerprint = tuple[int, int, int]


class Root:
    """The root service as the operator's bundle describes it now."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Load the bundle. Raises SettingsError when it cannot be used."""
        self._path = path
        self._clock = clock
        self._fingerprint = _fingerprint(path)
        self._service = _load(path)
        self._check_s = clock() + CHECK_INTERVAL_S

    @property
    def service(self) -> Service:
        """The root's sites; a bundle that became unreadable leaves the last good one in force."""
        now_s = self._clock()
        if now_s >= self._check_s:
            self._check_s = now_s + CHECK_INTERVAL_S
            self._reload()
        return self._service

    def _reload(self) -> None:
        fingerprint = _fingerprint(self._path)
        if fingerprint is None or fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            self._service = _load(self._path)
        except SettingsError as error:
            log.warning("root_bundle_unusable", file=str(self._path), cause=str(error))
        else:
            log.info("root_bundle_loaded", file=str(self._path), sites=len(self._service.sites))


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load(path: Path) -> Service:
    try:
        service = load_bundle(path)
    except SettingsError as error:
        raise SettingsError([f"root_site_file: {fault}; {_REMEDY}" for fault in error.faults]) from error
    except (OSError, ValueError, HandleError) as error:
        raise SettingsError([f"root_site_file: {path} is no root bundle: {error}; {_REMEDY}"]) from error
    if not any(site.servers for site in service.sites):
        raise SettingsError([f"root_site_file: {path} names no server of the root service"])
    return service
