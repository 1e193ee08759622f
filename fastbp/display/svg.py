"""Diagrams in SVG: blocks that lie one above the other or side by side, with arrows from one to the next.

A block has a vertical axis, on which what it takes comes in at the top, and what it makes goes out at the bottom.
"""

from collections.abc import Sequence
from html import escape
from typing import Protocol

GAP = 26  # between blocks one above the other: the length of an arrow
SPACE = 28  # between blocks side by side
RADIUS = 10  # of the circle in which branches meet
LINE = 16  # height of a line of text
CHARACTER = 6.8  # width, about
MARGIN = 8
INK, LINES = "#222", "#888"  # of text in boxes; of arrows, which light and dark backgrounds show


class Block(Protocol):
    """What can be drawn: it reaches so far to the left and to the right of its axis, and so far down."""

    left: float
    right: float
    height: float
    forks: bool  # whether it begins with lines to several places, of which each has an arrowhead

    def draw(self, x: float, y: float) -> list[str]:
        """Elements of SVG, with the axis at x and the top at y."""
        ...


class Box:
    """A box with lines of text, the first of them in bold."""

    def __init__(self, lines: Sequence[str], fill: str) -> None:
        self.lines, self.fill = [line for line in lines if line], fill
        self.left = self.right = max(map(len, self.lines)) * CHARACTER / 2 + 12
        self.height = len(self.lines) * LINE + 12.0
        self.forks = False

    def draw(self, x: float, y: float) -> list[str]:
        parts = [rectangle(x - self.left, y, self.left + self.right, self.height, f'fill="{self.fill}"')]
        for i, words in enumerate(self.lines, 1):
            style = f'text-anchor="middle" fill="{INK}" font-weight="{"bold" if i == 1 else "normal"}"'
            parts.append(text(words, x, y + LINE * i + 2, style))
        return parts


class Wire:
    """Nothing but a way through."""

    left = right = height = 0.0
    forks = False

    def draw(self, x: float, y: float) -> list[str]:
        return []


class Column:
    """Blocks one above the other."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.left = max(block.left for block in blocks)
        self.right = max(block.right for block in blocks)
        self.height = sum(block.height for block in blocks) + GAP * (len(blocks) - 1)
        self.forks = blocks[0].forks

    def draw(self, x: float, y: float) -> list[str]:
        parts = []
        for i, block in enumerate(self.blocks):
            if i:
                parts += way_to(block, (x, y - GAP), (x, y))
            parts += block.draw(x, y)
            y += block.height + GAP
        return parts


class Branches:
    """Blocks side by side that all take the same.

    Parameters
    ----------
    blocks : sequence of Block
    sign : str or None
        In the circle in which they meet; None if they don't.
    straight : bool
        Whether the first one is on the axis, rather than the middle of all.
    """

    def __init__(self, blocks: Sequence[Block], sign: str | None, straight: bool = False) -> None:
        self.blocks, self.sign, self.forks = blocks, sign, True
        self.inner = max(block.height for block in blocks)
        self.height = self.inner + 2 * GAP + (2 * RADIUS if sign else -GAP)
        at, self.offsets = 0.0, []
        for block in blocks:
            self.offsets.append(at + block.left)
            at += block.left + block.right + SPACE
        axis = self.offsets[0] if straight else (at - SPACE) / 2
        self.offsets = [offset - axis for offset in self.offsets]
        self.left, self.right = max(axis, RADIUS), max(at - SPACE - axis, RADIUS)

    def draw(self, x: float, y: float) -> list[str]:
        meeting = y + self.height - RADIUS
        parts = []
        for block, offset in zip(self.blocks, self.offsets, strict=True):
            top, bottom = y + GAP, y + GAP + block.height
            into = [(x, y), (x, y + GAP / 2), (x + offset, y + GAP / 2), (x + offset, top)]
            if block.height:
                parts += [*way_to(block, *into), *block.draw(x + offset, top)]
            out = [(x + offset, bottom)] if block.height else into
            if self.sign is None:
                continue
            if offset == 0:
                parts += arrow(*out, (x, meeting - RADIUS))
            else:
                side = RADIUS if offset > 0 else -RADIUS
                parts += arrow(*out, (x + offset, meeting), (x + side, meeting))
        if self.sign is not None:
            parts += [
                f'<circle cx="{x:g}" cy="{meeting:g}" r="{RADIUS}" fill="#fff" stroke="{LINES}"/>',
                text(self.sign, x, meeting + 4, f'text-anchor="middle" fill="{INK}"'),
            ]
        return parts


class Frame:
    """A block in a dashed frame, with a line of text in its corner."""

    def __init__(self, block: Block, text: str) -> None:
        self.block, self.text = block, text
        self.left, self.right = max(block.left, len(text) * CHARACTER) + 10, block.right + 10
        self.height = block.height + 2 * GAP
        self.forks = False

    def draw(self, x: float, y: float) -> list[str]:
        bottom = y + GAP + self.block.height
        return [
            rectangle(x - self.left, y, self.left + self.right, self.height, 'fill="none" stroke-dasharray="4"'),
            text(self.text, x - self.left + 6, y + 14, f'fill="{LINES}"'),
            *way_to(self.block, (x, y), (x, y + GAP)),
            *self.block.draw(x, y + GAP),
            line((x, bottom), (x, bottom + GAP)),
        ]


def rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    """A rectangle with its upper left corner at (x, y)."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" stroke="{LINES}" {style}/>'


def text(words: str, x: float, y: float, style: str) -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def line(*points: tuple[float, float]) -> str:
    """A line through points."""
    way = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{way}" fill="none" stroke="{LINES}"/>'


def arrow(*points: tuple[float, float]) -> list[str]:
    """A line through points with a head at its end, towards which it runs along an axis."""
    (x0, y0), (x, y) = points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    head = [(x, y), (x - 7 * dx + 4 * dy, y - 7 * dy + 4 * dx), (x - 7 * dx - 4 * dy, y - 7 * dy - 4 * dx)]
    corners = " ".join(f"{a:g},{b:g}" for a, b in head)
    return [line(*points), f'<polygon points="{corners}" fill="{LINES}"/>']


def way_to(block: Block, *points: tuple[float, float]) -> list[str]:
    """A line to a block, with a head unless it goes on there."""
    return [line(*points)] if block.forks else arrow(*points)


def document(block: Block, title: str) -> str:
    """An SVG of a block."""
    width, height = block.left + block.right + 2 * MARGIN, block.height + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" font-size="12" '
        f'style="max-width:100%;height:auto"><title>{escape(title)}</title>'
        f"{''.join(block.draw(block.left + MARGIN, MARGIN))}</svg>"
    )
