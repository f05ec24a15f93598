"""Containers on a Docker engine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from docker import APIClient

from podling.core.errors import RuntimeFailure
from podling.core.facts import EngineFacts
from podling.core.logrecord import LogRecord
from podling.core.retry import ErrorCode
from podling.core.spec import CPU, MEMORY
from podling.kit.addresses import own_address_towards
from podling.kit.metrics import Instrument
from podling.worker.runtime import docker_errors, docker_logs
from podling.worker.runtime import docker_labels as label
from podling.worker.runtime.base import Condition, ContainerWork, Found, Observer
from podling.worker.runtime.docker_config import LOG_SIZE, create_config
from podling.worker.runtime.docker_engine import CALL_SECONDS, Engine, Refused
from podling.worker.runtime.docker_images import Images
from podling.worker.runtime.docker_inside import address_in, misses_directory, without_directory
from podling.worker.runtime.docker_logs import LogSize
from podling.worker.runtime.docker_watch import Watch

KILL_AGAIN_SECONDS = 10.0
INFO_SECONDS = 10.0

_log = logging.getLogger(__name__)


class DockerRuntime:
    """The port `Runtime` on one Docker engine: `docker_host`, else DOCKER_HOST, else the default socket."""

    name = "docker"
    knows_every_start = False  # anybody may remove a container
    answers_at_once = False

    def __init__(
        self,
        cluster_id: str,
        node_id: str,
        docker_host: str | None = None,
        *,
        registry_config: Path | None = None,
        threads: int = 16,
        log_size: LogSize = LOG_SIZE,
    ) -> None:
        self.log_limit = log_size.limit
        self._log_size = log_size
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._engine = Engine(docker_host, threads=threads)
        self._images = Images(self._engine, registry_config)
        self._watch = Watch(self._engine, self._images, cluster_id, node_id)
        self._never_started: set[str] = set()
        self._kills: dict[str, asyncio.Task[None]] = {}
        self._capacity: dict[str, int] = {}
        self._sees_directory = True

    async def open(self, observer: Observer) -> None:
        await self._engine.open()
        information = await self._engine.call("info", lambda client: client.info())
        self._capacity = {CPU: information["NCPU"] * 1000, MEMORY: information["MemTotal"]}
        await self._watch.open(observer)

    async def close(self) -> None:
        for kill in self._kills.values():
            kill.cancel()
        await asyncio.gather(*self._kills.values(), return_exceptions=True)
        await self._watch.close()
        await self._images.close()
        self._engine.close()

    def instruments(self) -> Sequence[Instrument]:
        return (self._engine.durations, self._engine.failures)

    async def check(self) -> str | None:
        return await self._engine.ping() or self._watch.problem

    async def describe(self) -> EngineFacts:
        """Return the engine's version and directory, or why it cannot be asked."""
        try:
            told = await self._engine.call("info", lambda client: client.info(), seconds=INFO_SECONDS)
        except RuntimeFailure as failure:
            return EngineFacts(
                name=self.name, problem=" ".join(failure.message.split()) or "it does not work"
            )
        # The directory of an engine on another machine would be looked for on this one.
        root = told.get("DockerRootDir") if self._engine.is_local else None
        return EngineFacts(name=self.name, version=told.get("ServerVersion"), root=root)

    def detected_capacity(self) -> Mapping[str, int]:
        return self._capacity

    async def machine_host(self) -> str | None:
        """Return this program's address for containers of the default bridge, if the engine runs here."""
        if not self._engine.is_local:
            return None
        try:
            network = await self._engine.call("inspect", lambda client: client.inspect_network("bridge"))
        except RuntimeFailure as failure:
            _log.warning("the default bridge cannot be looked at: %s", failure.message)
            return None
        return address_in(network, own_address_towards)

    async def inventory(self) -> Sequence[Found]:
        return await self._watch.compare()

    async def prepare(self, work: ContainerWork) -> Found:
        spec = work.container
        if not spec.image:
            raise RuntimeFailure("A container needs an image.", code=ErrorCode.CREATE)
        try:
            return await self._create(
                work, await self._images.ensure(spec.image, spec.pull_policy, spec.platform)
            )
        except Refused as refusal:
            if not _misses_image(refusal):
                raise docker_errors.failure(refusal, ErrorCode.CREATE) from refusal
        self._images.forget(spec.image, spec.platform)
        digest = await self._images.ensure(spec.image, spec.pull_policy, spec.platform)
        try:
            return await self._create(work, digest)
        except Refused as refusal:
            raise docker_errors.failure(refusal, ErrorCode.CREATE) from refusal

    async def _create(self, work: ContainerWork, digest: str) -> Found:
        if not self._sees_directory:
            work = without_directory(work)
        try:
            return await self._made(work, digest)
        except Refused as refusal:
            if work.inside is None or not misses_directory(refusal.message, work.inside):
                raise
        # This program runs where the engine does not see its files, in a container perhaps.
        _log.warning(
            "tasks without a network cannot speak: the engine does not see %s", work.inside.directory
        )
        self._sees_directory = False
        return await self._made(without_directory(work), digest)

    async def _made(self, work: ContainerWork, digest: str) -> Found:
        config = create_config(
            work,
            cluster_id=self._cluster_id,
            node_id=self._node_id,
            machine_cpu=self._capacity.get(CPU),
            log_size=self._log_size,
        )

        def create(client: APIClient) -> Any:
            return client.create_container_from_config(config, work.engine_name, work.container.platform)  # type: ignore[no-untyped-call]

        try:
            container_id = (await self._engine.call("create", create))["Id"]
        except Refused as refusal:
            if refusal.status != 409:
                raise
            return await self._adopt(work)
        found = Found(
            engine_name=work.engine_name,
            container_id=container_id,
            task_id=work.task_id,
            attempt=work.attempt,
            container_name=work.container.name,
            condition=Condition.CREATED,
            image_digest=digest,
            gpus=work.gpus,
        )
        self._never_started.add(container_id)
        self._watch.created(found)
        return found

    async def _adopt(self, work: ContainerWork) -> Found:
        """Return the container that bears the name already, if it is the one that is asked for."""
        data = await self._engine.call("inspect", lambda client: client.inspect_container(work.engine_name))
        labels = data["Config"].get("Labels") or {}
        wanted = (self._cluster_id, self._node_id, work.task_id, str(work.attempt), work.container.name)
        names = (label.CLUSTER, label.NODE, label.TASK, label.ATTEMPT, label.CONTAINER)
        if tuple(labels.get(name) for name in names) != wanted:
            raise RuntimeFailure(
                f"The name {work.engine_name} is taken by a container that is not this task's; remove it.",
                code=ErrorCode.CREATE,
            )
        return await self._watch.inspect(data["Id"])

    async def start(self, container_id: str) -> Found:
        if container_id not in self._never_started:
            # To start an ended container would run it again, so a doubtful one is looked at first.
            found = await self._inspect(container_id)
            if found.condition is not Condition.CREATED:
                return found
        self._never_started.discard(container_id)
        return await self._start(container_id)

    async def restart(self, container_id: str) -> Found:
        return await self._start(container_id)

    async def _start(self, container_id: str) -> Found:
        start = self._watch.expect_start(container_id)
        try:
            await self._engine.call("start", lambda client: client.start(container_id))
        except Refused as refusal:
            start.cancel()
            raise docker_errors.failure(refusal, ErrorCode.START) from refusal
        return await self._watch.started(container_id, start)

    async def _inspect(self, container_id: str) -> Found:
        try:
            return await self._watch.inspect(container_id)
        except Refused as refusal:
            raise self._not_there(refusal) from refusal

    def _not_there(self, refusal: Refused) -> RuntimeFailure:
        if refusal.status != 404:
            return refusal
        return RuntimeFailure("The container is not there any more.", code=ErrorCode.EXTERNAL)

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        ended = self._watch.stopping(container_id)
        if grace_seconds > 0:
            name = signal or await self._stop_signal(container_id)
            if not await self._kill(container_id, name):
                return
        if (before := self._kills.pop(container_id, None)) is not None:
            before.cancel()
        kill = asyncio.create_task(self._kill_after(container_id, grace_seconds, ended))
        self._kills[container_id] = kill
        kill.add_done_callback(lambda done: self._forget_kill(container_id, done))

    def _forget_kill(self, container_id: str, kill: asyncio.Task[None]) -> None:
        if self._kills.get(container_id) is kill:
            del self._kills[container_id]

    async def _stop_signal(self, container_id: str) -> str:
        try:
            data = await self._engine.call("inspect", lambda client: client.inspect_container(container_id))
        except Refused as refusal:
            raise self._not_there(refusal) from refusal
        return str(data["Config"].get("StopSignal") or "SIGTERM")

    async def _kill_after(self, container_id: str, grace_seconds: float, ended: asyncio.Event) -> None:
        """Send KILL once the grace is over, and again until the end is known."""
        wait = grace_seconds
        while not await _set_within(ended, wait):
            wait = KILL_AGAIN_SECONDS
            try:
                if not await self._kill(container_id, "SIGKILL"):
                    return
            except RuntimeFailure as failure:
                _log.warning("%s cannot be killed yet: %s", container_id[:12], failure.message)

    async def _kill(self, container_id: str, signal: str) -> bool:
        """Send a signal; False if nothing runs there."""
        try:
            await self._engine.call("kill", lambda client: client.kill(container_id, signal))
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise
            self._watch.not_running(container_id)
            return False
        return True

    async def remove(self, container_id: str) -> None:
        self._watch.removing(container_id)
        self._never_started.discard(container_id)
        try:
            await self._engine.call(
                "remove", lambda client: client.remove_container(container_id, v=True, force=True)
            )
        except Refused as refusal:
            if refusal.status not in (404, 409):  # gone, or on its way
                self._watch.kept(container_id)
                raise

    async def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        parameters = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
        if since is not None:
            parameters["since"] = docker_logs.since_parameter(since)
        try:
            stream = await self._engine.open_stream(
                f"/containers/{container_id}/logs", parameters, None if follow else CALL_SECONDS
            )
        except Refused as refusal:
            raise self._not_there(refusal) from refusal
        pump = self._engine.pump(docker_logs.records(stream.chunks(whole=not follow)), _size)
        try:
            while batch := await pump.take():
                for record in batch:
                    yield record
        finally:
            pump.close()
            stream.close()


def _size(record: LogRecord) -> int:
    return len(record.data)


def _misses_image(refusal: Refused) -> bool:
    return refusal.status == 404 and "no such image" in refusal.message.lower()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await event.wait()
    except TimeoutError:
        return False
    return True
