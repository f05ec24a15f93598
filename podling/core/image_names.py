"""Names of images in their full form, and patterns over them.

`busybox` is `library/busybox` of the public registry, so that no other spelling of an image escapes
a rule. In a pattern `*` stands for anything without a slash and `**` for anything at all; alone,
either is every image. Without a tag a pattern means every tag.
"""

import re
from functools import lru_cache

from podling.core.value import value

HUB = "docker.io"
_HUB_NAMES = frozenset({HUB, f"index.{HUB}", f"registry-1.{HUB}"})
_ANYTHING = ("*", "**")


@value
class ImageName:
    """`repository` begins with the registry. An image without a tag and a digest has the tag `latest`."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None


@lru_cache(4096)
def image_name(reference: str) -> ImageName:
    """Return the full form of a well-formed reference, or of a pattern."""
    name, _, digest = reference.partition("@")
    name, tag = _without_tag(name)
    registry, path = _split(name)
    return ImageName(
        registry=registry,
        repository=f"{registry}/{path}",
        tag=tag,
        digest=digest or None,
    )


def _without_tag(name: str) -> tuple[str, str | None]:
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, tag if colon else None


def _split(name: str) -> tuple[str, str]:
    first, slash, path = name.partition("/")
    if not slash or not (first == "localhost" or any(sign in first for sign in ".:*")):
        first, path = HUB, name
    registry = first.lower()  # a host's name has no case
    if registry in _HUB_NAMES:
        registry = HUB
    return registry, f"library/{path}" if registry == HUB and "/" not in path else path


def is_like_image(pattern: str, reference: str) -> bool:
    """Whether the pattern names the image."""
    wanted, given = image_name(pattern), image_name(reference)
    tag = given.tag or (None if given.digest else "latest")
    return (
        (_is_anything(pattern) or is_like(wanted.repository, given.repository))
        and (wanted.digest is None or wanted.digest == given.digest)
        and (wanted.tag is None or (tag is not None and is_like(wanted.tag, tag)))
    )


def _is_anything(pattern: str) -> bool:
    return _without_tag(pattern)[0] in _ANYTHING


def is_like(pattern: str, text: str) -> bool:
    """Whether the whole text is as the pattern says."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+)", pattern)
    return re.compile("".join(_expression(part) for part in parts), re.DOTALL)


def _expression(part: str) -> str:
    if not part.startswith("*"):
        return re.escape(part)
    return "[^/]*" if part == "*" else ".*"
