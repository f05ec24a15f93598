"""Images on the node: there or pulled, once at a time for each."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from docker import APIClient, auth
from docker.utils import parse_repository_tag

from podling.core.errors import RuntimeFailure
from podling.core.registries import NEXT_TRY, is_answer
from podling.core.retry import ErrorCode
from podling.core.spec import PullPolicy
from podling.core.value import value
from podling.worker.runtime import docker_credentials
from podling.worker.runtime.docker_engine import CONNECT_SECONDS, Engine, Refused

TRUST_SECONDS = 10.0
"""So long an image that was seen counts as there; a create that misses it ends the trust."""

PULL_SECONDS = 1800.0
STALL_SECONDS = 120.0
TRIES = 3
FIRST_PAUSE = 0.5
LONGEST_COOLDOWN = 30.0

_Wanted = tuple[str, str | None]
"""An image, and the platform it has to be for."""


@value
class _Failed:
    failure: RuntimeFailure
    times: int
    until: float


class Images:
    """Sees to it that an image is there before a container is made of it."""

    def __init__(
        self, engine: Engine, registry_config: Path | None = None, *, pull_seconds: float = PULL_SECONDS
    ) -> None:
        self._engine = engine
        self._registry_config = registry_config
        self._pull_seconds = pull_seconds
        self._seen: dict[_Wanted, tuple[str, float]] = {}
        self._digests: dict[str, str] = {}
        self._pulls: dict[_Wanted, asyncio.Task[None]] = {}
        self._pulled: Counter[_Wanted] = Counter()
        self._failed: dict[_Wanted, _Failed] = {}

    async def ensure(self, image: str, policy: PullPolicy, platform: str | None = None) -> str:
        """Return the image's digest once it is there, for the platform if one is named.

        Raises RuntimeFailure: IMAGE_PULL, IMAGE_AUTH, IMAGE_MISSING.
        """
        wanted = (image, platform)
        if policy is PullPolicy.ALWAYS:
            await self._pull_once(wanted)
        elif (digest := self._trusted(wanted)) is not None:
            return digest
        pulled_before = self._pulled[wanted]
        digest = await self._look(wanted)
        if digest is None and policy is PullPolicy.IF_NOT_PRESENT:
            if self._pulled[wanted] == pulled_before:  # else it came after the engine had looked
                await self._pull_once(wanted)
            digest = await self._look(wanted)
        if digest is None:
            raise _missing(wanted, policy)
        return digest

    def forget(self, image: str, platform: str | None = None) -> None:
        """End the trust in an image that the engine does not find any more."""
        self._seen.pop((image, platform), None)

    async def digest_of(self, image_id: str) -> str:
        """Return the registry's digest for an image's id; the id itself for one without."""
        if image_id not in self._digests:
            return await self._look((image_id, None)) or image_id
        return self._digests[image_id]

    async def close(self) -> None:
        """Give up the pulls under way."""
        pulls = list(self._pulls.values())
        for pull in pulls:
            pull.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)

    def _trusted(self, wanted: _Wanted) -> str | None:
        digest, until = self._seen.get(wanted, (None, 0.0))
        return digest if time.monotonic() < until else None

    async def _look(self, wanted: _Wanted) -> str | None:
        image, platform = wanted
        try:
            data = await self._engine.call("image", partial(_inspect, image))
        except Refused as refusal:
            if refusal.status != 404:
                raise
            data = None
        if data is None or not _is_for(data, platform):
            self.forget(image, platform)
            return None
        digest = _digest(data)
        self._digests[data["Id"]] = digest
        self._seen[wanted] = (digest, time.monotonic() + TRUST_SECONDS)
        return digest

    async def _pull_once(self, wanted: _Wanted) -> None:
        """Join the pull of the image that is under way, or begin one.

        Who has joined one that failed is told so as who comes later is: it was one failure.
        """
        self._refuse_while_cooling(wanted)
        pull = joined = self._pulls.get(wanted)
        if pull is None:
            pull = self._pulls[wanted] = asyncio.create_task(self._pull(wanted))
            pull.add_done_callback(lambda done: self._pulls.pop(wanted, None))
            pull.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(pull)
        except RuntimeFailure:
            if joined is not None:
                self._refuse_while_cooling(wanted)
            raise

    def _refuse_while_cooling(self, wanted: _Wanted) -> None:
        failed = self._failed.get(wanted)
        if failed is not None and time.monotonic() < failed.until:
            wait = failed.until - time.monotonic()
            raise RuntimeFailure(
                f"{failed.failure.message} ({NEXT_TRY} {wait:.0f} s)", code=failed.failure.code
            )

    async def _pull(self, wanted: _Wanted) -> None:
        for attempt in range(TRIES):
            try:
                await self._engine.pull(
                    lambda client: _pull(client, wanted, self._registry_config, self._pull_seconds),
                    self._pull_seconds + 10,
                )
                self._failed.pop(wanted, None)
                self._pulled[wanted] += 1
                return
            except RuntimeFailure as problem:
                failure = problem
            if attempt + 1 == TRIES or failure.code == ErrorCode.IMAGE_AUTH or is_answer(failure.message):
                break
            await asyncio.sleep(FIRST_PAUSE * 2**attempt)
        raise self._remember(wanted, failure)

    def _remember(self, wanted: _Wanted, problem: RuntimeFailure) -> RuntimeFailure:
        before = self._failed.get(wanted)
        times = before.times + 1 if before else 1
        refused = problem.code == ErrorCode.IMAGE_AUTH or docker_credentials.is_refusal(problem.message)
        failure = RuntimeFailure(
            f"The image {_told(wanted)} could not be pulled: {problem.message}",
            code=ErrorCode.IMAGE_AUTH if refused else ErrorCode.IMAGE_PULL,
        )
        cooldown = min(2.0 ** (times - 1), LONGEST_COOLDOWN)
        self._failed[wanted] = _Failed(failure=failure, times=times, until=time.monotonic() + cooldown)
        return failure


def _inspect(image: str, client: APIClient) -> dict[str, Any]:
    return client.inspect_image(image)  # type: ignore[no-untyped-call, no-any-return]


def _is_for(data: dict[str, Any], platform: str | None) -> bool:
    """Whether the image is for the platform; a variant is compared where both name one."""
    if platform is None:
        return True
    system, architecture, *variant = platform.split("/")
    has = data.get("Variant") or ""
    return (data["Os"], data["Architecture"]) == (system, architecture) and has in ("", *(variant or [has]))


def _missing(wanted: _Wanted, policy: PullPolicy) -> RuntimeFailure:
    image, platform = wanted
    if policy is PullPolicy.NEVER or platform is None:
        sentence = f"The node has no image {_told(wanted)}, and the pull policy is {policy.value}."
    else:  # an image without a list of platforms comes whatever was asked for
        sentence = f"The image {image} was pulled, and it is not for {platform}."
    return RuntimeFailure(sentence, code=ErrorCode.IMAGE_MISSING)


def _told(wanted: _Wanted) -> str:
    image, platform = wanted
    return image if platform is None else f"{image} for {platform}"


def _digest(data: dict[str, Any]) -> str:
    for name in data.get("RepoDigests") or ():
        return str(name).partition("@")[2]
    return str(data["Id"])


def _pull(client: APIClient, wanted: _Wanted, registry_config: Path | None, seconds: float) -> None:
    """Pull with the credentials as they are now. Raises RuntimeFailure with what the engine says."""
    repository, tag = parse_repository_tag(wanted[0])
    registry, _ = auth.resolve_repository_name(repository)
    credentials = docker_credentials.header(registry, registry_config)
    response = client.post(
        f"{client.base_url}/v{client.api_version}/images/create",
        params={"fromImage": repository, "tag": tag or "latest"}
        | ({"platform": wanted[1]} if wanted[1] else {}),
        headers={"X-Registry-Auth": credentials} if credentials else {},
        stream=True,
        timeout=(CONNECT_SECONDS, STALL_SECONDS),
    )
    response.raise_for_status()
    deadline = time.monotonic() + seconds
    for report in _reports(response.iter_lines(chunk_size=8192)):
        if "error" in report:
            raise RuntimeFailure(str(report["error"]))
        if time.monotonic() > deadline:
            response.close()
            raise RuntimeFailure(f"it took longer than {seconds:g} s.")


def _reports(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    return (orjson.loads(line) for line in lines if line.strip())
