"""A flame graph as a small SVG: what was seen too seldom to be read is left out."""

from collections.abc import Mapping
from html import escape
from zlib import crc32

from bench.stacks import boxes, tree

WIDTH, ROW, LETTER = 1200, 15, 6.1
LEAST_SHARE = 0.005
OURS, OTHERS = "#7fb4c6", "#d9cbb0"


def draw(stacks: Mapping[tuple[str, ...], int], title: str) -> str:
    """Return the picture; Podling's own functions have a colour of their own."""
    found = list(boxes(tree(stacks), LEAST_SHARE))
    height = (2 + max((depth for depth, *_ in found), default=0) + 1) * ROW
    shapes = "\n".join(_box(*box) for box in found)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="10">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n<text x="4" y="12">{escape(title)}</text>\n'
        f"{shapes}\n</svg>\n"
    )


def _box(depth: int, begin: float, width: float, name: str) -> str:
    x, y, wide = begin * WIDTH, (depth + 1.5) * ROW, width * WIDTH
    fits = int((wide - 4) / LETTER)
    words = f'<text x="{x + 2:.1f}" y="{y + 11:g}">{escape(name[:fits])}</text>' if fits > 3 else ""
    return (
        f'<g><title>{escape(name)}: {width:.1%}</title><rect x="{x:.1f}" y="{y:g}" '
        f'width="{max(wide - 0.5, 0.5):.1f}" height="{ROW - 1}" fill="{_colour(name)}"/>{words}</g>'
    )


def _colour(name: str) -> str:
    """Return one of two colours, a little different for each function."""
    base = OURS if "(podling." in name else OTHERS
    shade = crc32(name.encode()) % 24 - 12
    return "#" + "".join(f"{int(base[at : at + 2], 16) + shade:02x}" for at in (1, 3, 5))
