"""Who may use a door that asks for no token: this machine, and no page from elsewhere in its browser."""

from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

from podling.core.access import is_address, is_loopback
from podling.core.errors import Unauthorized


def check_local(request: web.BaseRequest, why_open: str, how_to_close: str) -> None:
    """Raise Unauthorized for a caller from elsewhere, and for one that a page from elsewhere has sent.

    A browser on this machine would carry it here: to an address of ours (then `Origin` tells), or to a
    name of the page's own that leads here (then `Host` tells: such a name has a dot).
    """
    if not is_loopback(request.remote or ""):
        raise Unauthorized(f"{why_open}, so it answers its own machine alone: {how_to_close}")
    hosts = [_host_of(f"//{text}") for text in request.headers.getall("Host", [])]
    origins = [_host_of(text) for text in request.headers.getall("Origin", [])]
    if not all(map(_is_no_site, hosts)) or not all(map(is_loopback, origins)):
        raise Unauthorized(
            f"{why_open}, so it answers to localhost and 127.0.0.1 alone, and to no page from elsewhere:"
            f" {how_to_close}",
            code="another_site",
        )


def _is_no_site(host: str) -> bool:
    """Whether nobody elsewhere can have the name lead here; it is an address, or one of this network."""
    return bool(host) and ("." not in host or is_address(host))


@lru_cache(maxsize=1024)
def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
