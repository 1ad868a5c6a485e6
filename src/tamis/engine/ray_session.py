"""A connection to Ray: started on this machine for the time it is needed, or joined and left."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from tamis.errors import BackendError, MissingExtraError

PROBE_SECONDS = 5.0
"""Wait for an address to accept a connection. Ray itself would try for minutes."""
_TRIES = "RAY_NUM_REDIS_GET_RETRIES"


@contextmanager
def ray_session(address: str | None, workers: int | None) -> Iterator[Any]:
    """Yield the ``ray`` module, connected; afterwards disconnect, and stop Ray if it was started here.

    A session that the caller has begun is used as it is and left alone.

    Parameters
    ----------
    address : str or None
        As for :class:`~tamis.engine.ray.RayEngine`.
    workers : int or None
        CPUs of a Ray that is started here; None takes all cores.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    BackendError
        If there is no cluster at the address, or it does not let this process in.
    """
    ray = _import_ray(joins=address is not None)
    if ray.is_initialized():  # the caller's own session, theirs to end
        yield ray
        return
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    _print_notices(ray, False)
    try:
        _connect(ray, address, workers)
        yield ray
    finally:
        ray.shutdown()
        _print_notices(ray, True)
        if in_main_thread and handler is not None:
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place and leaves it there


def _import_ray(*, joins: bool) -> Any:
    # read when Ray is imported or starts its processes; the second silences a warning about a coming default
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    tries = os.environ.get(_TRIES)
    if joins and tries is None:
        os.environ[_TRIES] = "2"  # of 40 s each, not 20 of them
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("The engine 'ray' needs Ray; run: pip install 'tamis[ray]'.") from error
    finally:
        if tries is None:
            os.environ.pop(_TRIES, None)
    return ray


def _print_notices(ray: Any, wanted: bool) -> None:
    """Ray prints notices about its machines on stdout, where only results belong; it has no public switch for it."""
    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = wanted


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # "local": without it Ray joins a cluster that it finds by itself
        ray.init(address="local", num_cpus=workers or os.cpu_count(), include_dashboard=False, **quiet)
        return
    _probe(os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        raise BackendError(
            f"No Ray cluster can be joined at {address!r} ({reason}); one that wants a token needs RAY_AUTH_MODE=token "
            "and the token here too."
        ) from error


def _probe(address: str) -> None:
    """Refuse an address where nothing listens."""
    if address in ("auto", "local"):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port or 10001
    except ValueError:
        host, port = None, 0
    if not host:
        raise BackendError(f"No Ray cluster can be at {address!r}; write auto, HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise BackendError(
            f"No Ray cluster answers at {address!r} ({error}); start one with 'ray start --head', or leave the address "
            "out to use this machine."
        ) from error
