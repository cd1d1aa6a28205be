"""``jobgate worker``: one worker process, from the settings to the signals that end it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from datetime import timedelta

import click
import uvloop

from gateway import command_options
from gateway.children import say_ready
from gateway.command_options import settings_of
from gateway.logs import configure_logging
from gateway.settings import Settings, SettingsError, store_urls
from jobs.retention import RetentionPolicy
from jobs.secret_places import has_secrets
from storage.client import Driver
from worker.builtin import builtin_tasks
from worker.http_credentials import load_credentials
from worker.process import WorkerConfig, run_worker
from worker.tasks import TaskRegistry, load_tasks

logger = logging.getLogger("jobgate.worker")


@click.command("worker")
@command_options.tasks
@command_options.concurrency
@command_options.ready_fd
def worker_command(tasks: tuple[str, ...], concurrency: int | None, ready_fd: int | None) -> None:
    """Run a worker."""
    run(settings_of(tasks=tasks, concurrency=concurrency), ready_fd=ready_fd)


def run(settings: Settings, *, ready_fd: int | None = None) -> None:
    """Work until SIGTERM or Ctrl-C, then drain. A second signal ends it at once: its runs are found by their leases.

    Raises ``SettingsError``, ``TaskLoadError``, ``BadCredentials``, ``StoreUnavailable``, ``UnsupportedStore``.
    """
    configure_logging("worker", settings.log_level)
    tasks = worker_tasks(settings)
    uvloop.run(_run(worker_config(settings), tasks, ready_fd))


def worker_tasks(settings: Settings) -> TaskRegistry:
    """The tasks that a worker with these settings runs. Raises ``TaskLoadError``, ``BadCredentials``.

    And ``SettingsError`` where their inputs have secrets and there is no key: this worker would take the runs of others that
    have one, and fail them for good.
    """
    allow_private = settings.allow_private_addresses
    credentials = load_credentials(settings.http_credentials, allow_http=allow_private)
    tasks = load_tasks(settings.task_modules, builtin_tasks(allow_private, credentials))
    keyless = [
        one.name for one in tasks.definitions() if one.input_schema is not None and has_secrets(one.input_schema)
    ]
    if keyless and not settings.sealing_keys:
        raise SettingsError(f"{', '.join(keyless)}: their inputs have secrets, and JOBGATE_SECRET_KEYS is not set")
    return tasks


def worker_config(settings: Settings) -> WorkerConfig:
    """What the worker needs of the settings. Raises ``JobgateError`` when it does not know its stores."""
    mongodb_url, redis_url = store_urls(settings)
    return WorkerConfig(
        mongodb_url=mongodb_url,
        redis_url=redis_url,
        database=settings.database,
        driver=Driver(settings.driver),
        concurrency=settings.concurrency,
        lease=timedelta(seconds=settings.lease_seconds),
        drain=timedelta(seconds=settings.drain_seconds),
        cancel_grace=timedelta(seconds=settings.cancel_grace_seconds),
        max_outstanding=settings.max_outstanding,
        sweep_every=timedelta(seconds=settings.sweep_seconds),
        renudge_after=timedelta(seconds=settings.renudge_seconds),
        input_indexes=settings.input_index_paths,
        secret_keys=settings.sealing_keys,
        allow_private=settings.allow_private_addresses,
        retention=retention_policy(settings),
    )


def retention_policy(settings: Settings) -> RetentionPolicy:
    """How long the settings keep what is over."""
    return RetentionPolicy(
        completed=_age(settings.keep_completed_days),
        failed=_age(settings.keep_failed_days),
        cancelled=_age(settings.keep_cancelled_days),
        executions=_age(settings.keep_executions_days),
        events=_age(settings.keep_events_days),
        operations=_age(settings.keep_operations_days),
        deliveries=_age(settings.keep_deliveries_days),
        audit=_age(settings.keep_audit_days),
    )


def _age(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


async def _run(config: WorkerConfig, tasks: TaskRegistry, ready_fd: int | None) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, _stop, stop)
    working = asyncio.create_task(run_worker(config, tasks, stop, ready))
    became_ready = asyncio.create_task(ready.wait())
    await asyncio.wait({working, became_ready}, return_when=asyncio.FIRST_COMPLETED)
    if ready.is_set():
        say_ready(ready_fd)
    became_ready.cancel()
    await working


def _stop(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)
    stop.set()
