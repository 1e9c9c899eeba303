"""The admin listener: metrics, and whether the node lives and is ready. Never on a public port."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from protocol.transport.fast_path import FAST_PATH
from protocol.transport.http import HttpListener, listen_http
from protocol.transport.source import SourceCheck

PROBE_S: Final = 2.0  # a check that takes longer has failed; orchestrators give up after a few seconds

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of being ready."""

    name: str
    probe: Callable[[], Awaitable[str | None]]
    """None when it is met, else the reason for a person to read: what is wrong, and since when."""


async def start_admin(
    address: str,
    port: int,
    metrics: CollectorRegistry,
    checks: Sequence[Check] = (),
    *,
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> HttpListener:
    """Serves /metrics, /health/live and /health/ready. Raises SettingsError when the port cannot be opened.

    refresh: awaited before each collection of the metrics.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call] # a third of all lines, which nobody reads
    app = web.Application()

    async def show_metrics(request: web.Request) -> web.Response:
        if refresh is not None:
            await refresh()
        return web.Response(body=generate_latest(metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def live(request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(request: web.Request) -> web.Response:
        reasons = await unmet(checks)
        told = {"ready": not reasons, "reasons": reasons, "fast_path": FAST_PATH.name}
        return web.json_response(told, status=503 if reasons else 200)

    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    return await listen_http(app, address, port, source=SourceCheck())


async def unmet(checks: Sequence[Check]) -> dict[str, str]:
    """The reasons why a node is not ready, by the name of the check; all checks are run at once."""
    results = await asyncio.gather(*(_probe(check) for check in checks))
    return {check.name: reason for check, reason in zip(checks, results, strict=True) if reason is not None}


async def _probe(check: Check) -> str | None:
    try:
        async with asyncio.timeout(PROBE_S):
            return await check.probe()
    except TimeoutError:
        return f"no answer within {PROBE_S:g} s"
    except Exception:
        log.exception("readiness_check_failed", check=check.name)
        return "the check itself failed; see the log"
