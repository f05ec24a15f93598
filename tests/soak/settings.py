"""How long, how fast, how seeded."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`rate` is tasks a second; `only` names the faults to draw from (empty: all)."""

    minutes: float = 60.0
    seed: int = 0
    rate: float = 6.5
    masters: int = 3
    lease_seconds: float = 6.0
    warm_up_seconds: float = 30.0
    settle_seconds: float = 180.0
    idle_seconds: float = 20.0
    streams: int = 1000
    with_docker: bool = True
    keep: bool = False
    only: tuple[str, ...] = ()
    result: Path = Path("var/soak.json")
    docs: Path | None = None
