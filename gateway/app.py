"""The only place that builds and wires. One gateway, started in order, stopped in the opposite order.

Start: database, migrations, keys, adapters, inbox, workers, HTTP, MLLP; then it is ready. Stop: MLLP drains (what was
received is answered), HTTP ends, workers finish what is in hand, the inbox closes, the database goes last.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import os
import random
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from gateway import plugins
from gateway.config import secret
from gateway.contract.ports import RegistrySettings
from gateway.errors import ConfigError, DatabaseStartError, KeyMissingError, StoreUnavailableError
from gateway.evidence.keys import Keyring
from gateway.hl7 import lexer
from gateway.mllp.client import ClientPool
from gateway.mllp.server import MllpServer, Peer
from gateway.mllp.tls import server_context
from gateway.observe.logging import describe
from gateway.observe.metrics import Metrics
from gateway.pipeline import chores, clocks, journal
from gateway.pipeline.answer import Answerer
from gateway.pipeline.breaker import Breaker
from gateway.pipeline.context import SERVICE_FAILURES, Context
from gateway.pipeline.endings import Endings
from gateway.pipeline.frames import Frames
from gateway.pipeline.guarded import Guarded
from gateway.pipeline.helper import Helper
from gateway.pipeline.incident import Incidents
from gateway.pipeline.intake import Intake
from gateway.pipeline.large import LargeLane
from gateway.pipeline.office_only import OfficeOnly
from gateway.pipeline.rehearsal import Rehearsal
from gateway.pipeline.verdict import Judge
from gateway.pipeline.worker import Workers
from gateway.rates import Buckets
from gateway.store import cluster as private
from gateway.store import messages, overdue, queue
from gateway.store.database import UNAVAILABLE, Database, connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.inbox import Inbox
from gateway.store.migrate import newest
from gateway.store.queue import Doorbell
from gateway.store.schema import bring_up
from gateway.verify.policy import load_policy
from gateway.verify.structure import prepare
from gateway.web.server import WebServer, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from gateway.config import Config
    from gateway.contract.facility import FacilityProfile
    from gateway.contract.ports import HospitalAdapter, RegistryAdapter

_log = structlog.get_logger()
_OVERDUE_LOOK_S = 30.0
_CLOCKS_FIRST_S, _CLOCKS_LOOK_S = 30.0, 300.0
_SCHEMA_LOOK_S = 15.0
_SENDERS_SHARE = 0.8  # of the time for draining, at most
_KEYS_LOOK_S = 5.0
_COMPILED = not str(lexer.__file__).endswith(".py")  # by `make compiled`, or the image
_COMMON_VERSIONS = ("2.3", "2.4", "2.5")
RUN_FILE = "procot.json"


def utc_now() -> dt.datetime:
    """Return the present moment in UTC: the clock of production."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running gateway listens. `mllp_tls` is empty where there is no such listener."""

    mllp: str
    mllp_tls: str
    http: str
    dsn: str


def unreachable(dsn: str, error: StoreUnavailableError) -> str:
    """Return the sentence for a database that cannot be reached: which one, without its password, and why."""
    parts = urlsplit(dsn)
    user, _, hosts = parts.netloc.rpartition("@")
    where = f"{parts.scheme}://{user.partition(':')[0]}@{hosts}{parts.path}"
    cause = error.__cause__
    reason = (getattr(cause, "strerror", "") or type(cause).__name__) if cause else "no reason given"
    return f"database.dsn = {where!r}: PostgreSQL cannot be reached there ({reason}); check address, user and password"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a checked `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def open_registry(config: Config, *, clock: Callable[[], dt.datetime] = utc_now) -> RegistryAdapter:
    """Open the registry's adapter; it connects with its first call. Raises ConfigError naming the setting.

    An office that takes its records itself (`registry.way = "lease"`) needs no adapter: without `registry.url` there is
    none.
    """
    registry = config.registry
    if registry.way == "lease" and not registry.url:
        return OfficeOnly()
    if not registry.url:
        raise ConfigError("registry.url: is not set; name the base URL of the registry's service")
    password = ""
    if registry.check_password_file is not None:
        password = secret(registry.check_password_file, "registry.check_password_file")
    settings = RegistrySettings(
        url=registry.url,
        office=registry.office,
        token=secret(registry.token_file, "registry.token_file"),
        check_user=registry.check_user,
        check_password=password,
        check_ip=registry.check_ip,
        callback_jwks=registry.callback_jwks,
        document_origins=registry.document_origins,
        timeout_s=registry.timeout_s,
        options=registry.options,
        clock=clock,
    )
    try:
        return plugins.registry(registry.adapter, settings)
    except ConfigError as error:
        if str(error).startswith("registry."):
            raise
        raise ConfigError(f"registry.adapter = {registry.adapter!r}: {error}") from None


class Gateway:
    """One gateway process. Use `running`, which starts and stops it."""

    def __init__(self, config: Config, *, clock: Callable[[], dt.datetime] = utc_now) -> None:
        self.config = config
        self.clock = clock
        self.metrics = Metrics()
        self.keyring = Keyring(config.keys_directory)
        self.on_keys: Callable[[], object] = lambda: None  # told when keys were made or retired
        self.context: Context
        self.addresses: Addresses
        self._http = ""
        self._draining = False
        self._drain_ends = 0.0
        self._failed: asyncio.Future[None]

    async def failed(self) -> None:
        """Return never, or raise what broke a background task: the process must end then."""
        await self._failed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Addresses]:
        """Start everything, lend the addresses, stop everything. Raises ConfigError, DatabaseStartError and others."""
        self._failed = asyncio.get_running_loop().create_future()
        self.keyring.open()
        async with AsyncExitStack() as stack:
            dsn = await self._database(stack)
            database = Database(dsn, size=self.config.database.pool_size, timeout_s=self.config.database.timeout_s)
            await database.open()
            stack.push_async_callback(database.close)
            self.context = self._context(database, stack)
            rehearsal = engine(
                self.config, facilities=self.context.facilities, hospitals=self.context.hospitals, clock=self.clock
            )
            await self.context.schema.refresh(database)
            intake = self._inbox(dsn, rehearsal, stack)
            workers = self._workers(database, stack)
            await self._web(intake, rehearsal, stack)
            self.addresses = await self._mllp(intake, dsn, stack)
            stack.callback(self._write_run_file().unlink, missing_ok=True)
            stack.callback(workers.take_nothing_new)
            stack.callback(self._begin_drain)
            _log.info(
                "gateway.ready",
                address=self.addresses.mllp,
                url=self.addresses.http,
                pid=os.getpid(),
                compiled=_COMPILED,
            )
            yield self.addresses
            _log.info("gateway.stopping")

    @asynccontextmanager
    async def parts(self, database: Database) -> AsyncIterator[Context]:
        """Lend what steps work with, for a command beside a running gateway: nothing listens, no key is made.

        The gateway's keys are read where they are: what the command revises is found by them.
        """
        if (self.config.keys_directory / "index.key").exists():
            self.keyring.open()
        async with AsyncExitStack() as stack:
            context = self._context(database, stack)
            await context.schema.refresh(database)
            yield context

    # ------------------------------------------------------------------------------------------------ parts

    async def _database(self, stack: AsyncExitStack) -> str:
        """Return the DSN of a migrated database: the configured one, or the embedded server's."""
        settings = self.config.database
        if settings.dsn is not None:
            dsn = settings.dsn.get_secret_value()
        else:
            server = EmbeddedPostgres(settings.directory / "postgres", within=settings.directory)
            dsn = await server.start()
            stack.push_async_callback(server.stop)
            self._background(stack, self._keep_alive(server), "postgres")
        try:
            connection = await connect(dsn, timeout_s=max(60.0, settings.timeout_s))
        except StoreUnavailableError as error:
            raise DatabaseStartError(unreachable(dsn, error)) from error
        try:
            await bring_up(connection, migrating=settings.migrate == "start")
            if settings.dsn is None:
                await queue.void_leases(connection)  # the data directory is ours alone: who held them is dead
        except UNAVAILABLE as error:  # read-only, full, or gone since
            raise DatabaseStartError(
                f"PostgreSQL is there and takes no writes ({type(error).__name__}), so that its tables could not be "
                "checked. Give it room or let it write, then start again."
            ) from error
        finally:
            await connection.close()
        return dsn

    async def _keep_alive(self, server: EmbeddedPostgres) -> None:
        """Start the embedded server anew whenever it dies: senders get AR meanwhile and send again."""
        while True:
            status = await server.wait_dead()
            _log.error("postgres.died", exit_status=status)
            await server.restart()
            _log.info("postgres.restarted")

    def _context(self, database: Database, stack: AsyncExitStack) -> Context:
        config = self.config
        registry = open_registry(config, clock=self.clock)
        stack.push_async_callback(registry.close)
        listeners, helper = ClientPool(), Helper()
        stack.push_async_callback(listeners.aclose)
        stack.push_async_callback(helper.close)
        services, incidents = Breaker(threshold=SERVICE_FAILURES), Incidents()
        return Context(
            config=config,
            database=database,
            registry=Guarded(registry, services, incidents),
            services=services,
            incidents=incidents,
            hospitals={name: plugins.hospital(name) for name in {f.adapter for f in config.facility}},
            facilities={facility.code: facility for facility in config.facility},
            keyring=self.keyring,
            listeners=listeners,
            metrics=self.metrics,
            clock=self.clock,
            helper=helper,
            rng=random.Random(),  # noqa: S311 - jitter, no secret
            public_url=lambda: config.gateway.public_url.rstrip("/") or self._http,
        )

    def _inbox(self, dsn: str, rehearsal: Rehearsal, stack: AsyncExitStack) -> Intake:
        config = self.config
        inbox = Inbox(dsn, observer=self.metrics, limits=config.limits, timeout_s=config.database.timeout_s)
        self._background(stack, inbox.run(), "inbox")
        beside = Inbox(dsn, observer=self.metrics, limits=config.limits, timeout_s=config.database.timeout_s)
        self._background(stack, beside.run(), "inbox of large messages")
        large = LargeLane(beside, self.context.helper, waiting_bytes=config.limits.inbox_bytes)
        stack.push_async_callback(large.close)
        prepare(load_policy(), _COMMON_VERSIONS)  # the first birth should not wait for hl7apy's tables
        return Intake(
            judge=rehearsal.judge,
            answerer=rehearsal.answerer,
            inbox=inbox,
            metrics=self.metrics,
            large=large,
            pace=Buckets(config.limits.messages_per_s_per_facility, burst_s=config.limits.burst_s),
        )

    def _workers(self, database: Database, stack: AsyncExitStack) -> Workers:
        workers = Workers(self.context)
        if self.config.gateway.workers:  # else there is nobody to wake
            self._background(stack, Doorbell(database, workers.wake).run(), "doorbell")
        self._background(stack, self._watch_waits(database), "waits")
        self._background(stack, self._watch_clocks(), "clocks")
        self._background(stack, self._watch_schema(database), "schema")
        self._background(stack, self.context.incidents.keep(database, self.metrics), "incidents")
        self._background(stack, chores.run(self.context), "chores")
        self._background(stack, journal.run(self.context), "journal")
        self._background(stack, self._watch_keys(), "keys")
        self._background(stack, workers.run(), "workers")
        stack.push_async_callback(self._stop_workers, workers)
        return workers

    async def _watch_waits(self, database: Database) -> None:
        """Tell once of each birth whose wait has timed out, and keep the count; likewise of tokens that end soon."""
        endings = Endings()
        while True:
            try:
                await endings.look(database, self.metrics)
                async with database.transaction() as connection:
                    for row in await overdue.newly_overdue(connection):
                        _log.warning(
                            "birth.overdue", birth_id=str(row["id"]), facility=row["facility"], state=row["state"]
                        )
                    counts = await overdue.overdue_counts(connection)
                    stuck = await messages.stuck(connection)
                self.metrics.unassigned.set(stuck)
                if stuck:
                    _log.warning("messages.unassigned", messages=stuck)
                for owner in ("gateway", "hospital", "parents", "officer", "registry", "operator"):
                    self.metrics.overdue.labels(owner).set(counts.get(owner, 0))
            except Exception as error:  # noqa: BLE001 - counting late births must never end the gateway
                _log.warning("waits.store_unavailable", **describe(error))
            await asyncio.sleep(_OVERDUE_LOOK_S)

    async def _watch_clocks(self) -> None:
        """Tell of births whose day of the term has come, and hurry what leaves soon."""
        await asyncio.sleep(_CLOCKS_FIRST_S)
        while True:
            try:
                await clocks.escalate(self.context)
            except Exception as error:  # noqa: BLE001 - as above
                _log.warning("clocks.failed", **describe(error))
            await asyncio.sleep(_CLOCKS_LOOK_S)

    async def _watch_schema(self, database: Database) -> None:
        """Notice that the database was migrated, so that what needed it goes on without a restart."""
        while True:
            await asyncio.sleep(_SCHEMA_LOOK_S)
            before = self.context.schema_level
            try:
                level = await self.context.schema.refresh(database)
            except StoreUnavailableError as error:
                _log.debug("database.schema_unread", **describe(error))
                continue
            if level != before:
                _log.info("database.schema_moved", migration=level)
            self.context.schema.must_take(newest())

    async def _watch_keys(self) -> None:
        """Notice keys that `procot keys` made or retired: they count without a restart."""
        told = False
        while True:
            await asyncio.sleep(_KEYS_LOOK_S)
            try:
                if self.keyring.refresh():
                    self.on_keys()
                    _log.info("keys.reloaded", key_id=self.keyring.signing.key_id)
                told = False
            except (KeyMissingError, OSError) as error:
                if not told:
                    _log.warning("keys.not_reloaded", **describe(error))
                told = True

    async def _web(self, intake: Intake, rehearsal: Rehearsal, stack: AsyncExitStack) -> None:
        def ready() -> str:
            if self._draining:
                return "the gateway is stopping"
            return "PostgreSQL refused the last commit" if self.metrics.refused_lately() else ""

        server = WebServer(application(self.context, intake=intake, rehearsal=rehearsal, ready=ready))
        host, port = await server.start(*split_address(self.config.http.listen))
        stack.push_async_callback(server.stop)
        self._http = f"http://{host}:{port}"

    async def _mllp(self, intake: Intake, dsn: str, stack: AsyncExitStack) -> Addresses:
        def handle(frame: bytes, peer: Peer) -> asyncio.Future[Sequence[bytes]]:
            return frames.take(
                frame,
                peer=peer.host,
                certificate_names=peer.certificate_names,
                connection=peer.connection_id,
            )

        config = self.config
        frames = Frames(
            intake,
            Answerer(config.gateway.application, config.gateway.facility, self.clock),
            batch_answers=config.mllp.batch_answers,
            messages_per_block=config.limits.messages_per_block,
        )
        server = MllpServer(handle, limits=config.limits, observer=self.metrics)
        stack.push_async_callback(server.drain, _SENDERS_SHARE * config.gateway.drain_s)
        host, port = await server.start(
            *split_address(config.mllp.listen), reuse_port=config.mllp.reuse_port, release=config.mllp.release
        )
        secure = ""
        if config.mllp.tls_listen:
            bound = await server.start(
                *split_address(config.mllp.tls_listen),
                ssl=server_context(config.tls),
                release=config.mllp.tls_release,
            )
            secure = f"{bound[0]}:{bound[1]}"
        return Addresses(mllp=f"{host}:{port}", mllp_tls=secure, http=self._http, dsn=dsn)

    # ------------------------------------------------------------------------------------------------ helpers

    def _background(self, stack: AsyncExitStack, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` until the stack unwinds; an end before that is the end of the gateway."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        stack.push_async_callback(_cancel, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            _log.error("gateway.part_failed", kind=task.get_name(), **describe(error))
            self._failed.set_exception(error)

    def _begin_drain(self) -> None:
        """Say "not ready" first of all, so that balancers look elsewhere."""
        self._draining = True
        self._drain_ends = asyncio.get_running_loop().time() + self.config.gateway.drain_s

    async def _stop_workers(self, workers: Workers) -> None:
        """Give steps in hand what senders left of the time, and their own share at least."""
        left = self._drain_ends - asyncio.get_running_loop().time()
        await workers.stop(within_s=max(left, (1 - _SENDERS_SHARE) * self.config.gateway.drain_s))

    def _write_run_file(self) -> Path:
        """Leave addresses and DSN for the command line, readable by the owner only."""
        path = self.config.database.directory / RUN_FILE
        config = self.config.model_dump(mode="json", exclude={"database": {"dsn"}})
        write_private(path, json.dumps({**dataclasses.asdict(self.addresses), "pid": os.getpid(), "config": config}))
        return path


def engine(
    config: Config,
    *,
    facilities: Mapping[str, FacilityProfile],
    hospitals: Mapping[str, HospitalAdapter],
    clock: Callable[[], dt.datetime],
) -> Rehearsal:
    """Return what judges and answers messages: the wire puts an inbox behind it, the dry run does not."""
    judge = Judge(
        facilities=facilities,
        hospitals=hospitals,
        clock=clock,
        test_messages=config.gateway.test_messages,
        require_form=config.registry.require_form,
        segment_limit=config.limits.segments_per_message,
    )
    return Rehearsal(judge, Answerer(config.gateway.application, config.gateway.facility, clock))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


def write_private(path: Path, text: str) -> None:
    """Write a file whole, mode 0600, making its directory where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    private.write_private(path, text)
