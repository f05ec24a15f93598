"""Podling: a container orchestrator with a durable queue inside."""

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podling.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    # The programs say their version without importing anything.
    if name in ("AsyncClient", "Client"):
        import podling.client

        return getattr(podling.client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
