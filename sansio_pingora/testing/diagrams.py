"""The tables of our machines as text, as Mermaid, and as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from sansio_pingora.testing.tables import Table, transition_tables

__all__ = ["FORMATS", "Taken", "draw", "machines"]

Taken = Mapping[str, Mapping[str, int]]
"""How often each cell was looked up, as :func:`.tables.moves_taken` tells; empty: nobody has counted."""


def machines() -> dict[str, list[Table]]:
    """Every machine with a table, by the name of its package."""
    found: dict[str, list[Table]] = {}
    for table in transition_tables():
        found.setdefault(table.machine, []).append(table)
    return found


def draw(names: Sequence[str], how: str = "text", taken: Taken | None = None) -> str:
    """The machines of *names* as ``text``, ``mermaid`` or ``svg``; with *taken* each move says how often it was taken.

    :raises KeyError: there is no such machine.
    """
    known = machines()
    return FORMATS[how]({name: known[name] for name in names}, taken or {})


def _times(table: Table, state: str, given: str, taken: Taken) -> int | None:
    return taken[table.name].get(f"{state} {given}", 0) if table.name in taken else None


def _counted(label: str, times: int | None) -> str:
    return label if times is None else f"{label} ({times:,}x)" if times else f"{label} (never)"


# ── text ─────────────────────────────────────────────────────────────────────────────


def _text(chosen: dict[str, list[Table]], taken: Taken) -> str:
    lines = []
    for tables in chosen.values():
        for group in _groups(tables):
            first = group[0]
            lines += [f"{_title(group)}: {first.kind}", f"  {first.about}", ""]
            lines += [f"  {line}" for line in (_moves(group, taken) if first.moves else _grid(first, taken))]
            lines.append("")
    return "\n".join(lines)


def _groups(tables: list[Table]) -> list[list[Table]]:
    """What is drawn together: all moves between the same states; each table of verdicts alone."""
    graphs: dict[str, list[Table]] = {}
    for table in tables:
        graphs.setdefault(table.kind if table.moves else table.name, []).append(table)
    return list(graphs.values())


def _title(group: list[Table]) -> str:
    return ", ".join(table.name for table in group)


def _used(group: list[Table]) -> list[str]:
    """The states that have a part in it, in their order."""
    used = {state for table in group for (begin, _), end in table.cells.items() for state in (begin, end)}
    return [state for state in group[0].states if state in used]


def _moves(group: list[Table], taken: Taken) -> list[str]:
    lines = []
    for state in _used(group):
        cells = [
            f"  {_counted(given, _times(table, state, given, taken))} -> {end}"
            for table in group
            for (begin, given), end in table.cells.items()
            if begin == state
        ]
        lines += [state if cells else f"{state} (nothing leaves it)", *cells]
    return lines


def _grid(table: Table, taken: Taken) -> list[str]:
    rows = _rows(table, taken)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rows(table: Table, taken: Taken) -> list[list[str]]:
    given = list(dict.fromkeys(given for _, given in table.cells))
    rows = [["", *given]]
    for state in table.states:
        if any(begin == state for begin, _ in table.cells):
            cells = [
                _counted(table.cells[state, each], _times(table, state, each, taken))
                if (state, each) in table.cells
                else "-"
                for each in given
            ]
            rows.append([state, *cells])
    return rows


# ── Mermaid ──────────────────────────────────────────────────────────────────────────


def _mermaid(chosen: dict[str, list[Table]], taken: Taken) -> str:
    lines = ["stateDiagram-v2"]
    for tables in chosen.values():
        for table in tables:
            if not table.moves:
                continue
            lines.append(f"  %% {table.name}")
            for (state, given), end in table.cells.items():
                label = _counted(given, _times(table, state, given, taken))
                lines.append(f"  {table.machine}_{state} --> {table.machine}_{end}: {label}")
    return "\n".join(lines) + "\n"


# ── SVG ──────────────────────────────────────────────────────────────────────────────

_INK, _TAKEN, _NEVER = "#33415c", "#1a7f37", "#cf222e"
_CHAR = 6.6  # of 11 px in a font of one width
_SLOT, _GAP, _LANE, _MARGIN = 18, 38, 13, 20
_STYLE = (
    "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1f2937}"
    ".title{font-weight:bold;font-size:13px}.state{font-weight:bold}"
    "path{fill:none;stroke-width:1.3}rect{fill:#eef2ff;stroke:#33415c}.never{stroke-dasharray:4 3}"
)


class _Edge:
    """All that leads from one state to another."""

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end
        self.labels: list[str] = []
        self.times: int | None = None
        self.lane = 0
        self.out = self.into = 0.0

    @property
    def down(self) -> bool:
        return self.end == self.begin + 1

    @property
    def span(self) -> tuple[int, int]:
        return min(self.begin, self.end), max(self.begin, self.end)

    @property
    def label(self) -> str:
        return ", ".join(self.labels)

    @property
    def colour(self) -> str:
        return _INK if self.times is None else _TAKEN if self.times else _NEVER


def _svg(chosen: dict[str, list[Table]], taken: Taken) -> str:
    parts: list[str] = []
    width, y = 0.0, float(_MARGIN)
    for tables in chosen.values():
        for group in _groups(tables):
            parts.append(_write(_MARGIN, y + 4, f"{_title(group)}: {group[0].kind}", ' class="title"'))
            paint = _graph(parts, group, taken, y + 24) if group[0].moves else _matrix(parts, group[0], taken, y + 24)
            width, y = max(width, paint[0], len(_title(group)) * 8 + 80), paint[1]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y:.0f}" '
        f'viewBox="0 0 {width:.0f} {y:.0f}">\n<style>{_STYLE}</style>\n'
        + "".join(_arrow(colour) for colour in (_INK, _TAKEN, _NEVER))
        + f'<rect width="{width:.0f}" height="{y:.0f}" style="fill:#fff;stroke:none"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _arrow(colour: str) -> str:
    return (
        f'<marker id="a{colour[1:]}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" style="fill:{colour};stroke:none"/></marker>\n'
    )


def _write(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def _edges(group: list[Table], states: Sequence[str], taken: Taken) -> list[_Edge]:
    found: dict[tuple[int, int], _Edge] = {}
    for table in group:
        for (state, given), end in table.cells.items():
            at = states.index(state), states.index(end)
            edge = found.setdefault(at, _Edge(*at))
            times = _times(table, state, given, taken)
            edge.labels.append(_counted(given, times))
            if times is not None:
                edge.times = (edge.times or 0) + times
    return list(found.values())


def _lanes(edges: list[_Edge]) -> int:
    """Give each edge beside the column a lane that no other needs there; how many there are."""
    lanes: list[list[_Edge]] = []
    for edge in sorted(edges, key=lambda edge: (edge.span[1] - edge.span[0], edge.span)):
        low, high = edge.span
        for number, lane in enumerate(lanes):
            if all(other.span[1] < low or other.span[0] > high for other in lane):
                edge.lane = number
                lane.append(edge)
                break
        else:
            edge.lane = len(lanes)
            lanes.append([edge])
    return len(lanes)


def _graph(parts: list[str], group: list[Table], taken: Taken, top: float) -> tuple[float, float]:
    """States in a column, in their order; what leads on stands right of it, what leads back left; the size."""
    states = _used(group)
    edges = _edges(group, states, taken)
    right = [edge for edge in edges if edge.end > edge.begin and not edge.down]
    left = [edge for edge in edges if edge.end <= edge.begin]
    room = {True: _lanes(right) * _LANE, False: _lanes(left) * _LANE}
    label_left = max((len(edge.label) for edge in left), default=0) * _CHAR + 16
    label_right = max((len(edge.label) for edge in right), default=0) * _CHAR + 16
    x = _MARGIN + label_left + room[False]
    box = max(map(len, states)) * 7 + 24
    far = x + box
    y = top
    middle = []
    for number, state in enumerate(states):
        slots = [
            sorted((edge for edge in side if number in (edge.begin, edge.end)), key=lambda edge: edge.span)
            for side in (left, right)
        ]
        places = [sum((edge.begin == number) + (edge.end == number) for edge in side) for side in slots]
        height = max(30, max(places) * _SLOT + 10)
        for side in slots:
            at = y + 5 + _SLOT / 2
            for edge in sorted(side, key=lambda edge: edge.begin == number):  # what comes in stands above
                if edge.end == number:
                    edge.into = at
                    at += _SLOT
                if edge.begin == number:
                    edge.out = at
                    at += _SLOT
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{box:.1f}" height="{height:.1f}" rx="6"/>')
        parts.append(_write(x + box / 2, y + height / 2 + 4, state, ' class="state" text-anchor="middle"'))
        middle.append((y, y + height))
        y += height + _GAP
    for edge in edges:
        if edge.down:
            begin, end = middle[edge.begin][1], middle[edge.end][0]
            _line(parts, edge, f"M{x + box / 2:.1f} {begin:.1f}V{end:.1f}")
            parts.append(_write(x + box / 2 + 6, (begin + end) / 2 + 4, edge.label))
    for side, start, sign, label in ((right, far, 1, label_right), (left, x, -1, label_left)):
        for edge in side:
            lane = start + sign * (label + edge.lane * _LANE)
            _line(parts, edge, f"M{start:.1f} {edge.out:.1f}H{lane:.1f}V{edge.into:.1f}H{start:.1f}")
            anchor = "" if sign > 0 else ' text-anchor="end"'
            parts.append(_write(start + sign * 6, edge.out - 3, edge.label, anchor))
    below = max((len(edge.label) for edge in edges if edge.down), default=0) * _CHAR
    return max(far + label_right + room[True], x + box / 2 + below) + _MARGIN, y - _GAP + 2 * _MARGIN


def _line(parts: list[str], edge: _Edge, path: str) -> None:
    never = ' class="never"' if edge.times == 0 else ""
    parts.append(f'<path d="{path}"{never} stroke="{edge.colour}" marker-end="url(#a{edge.colour[1:]})"/>')


def _matrix(parts: list[str], table: Table, taken: Taken, top: float) -> tuple[float, float]:
    """States down, inputs across; the size."""
    rows = _rows(table, taken)
    widths = [max(len(row[at]) for row in rows) * _CHAR + 14 for at in range(len(rows[0]))]
    y = top
    for number, row in enumerate(rows):
        x = float(_MARGIN)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
            head = not number or not at
            fill = "#eef2ff" if head else "#ffebe9" if cell.endswith("(never)") else "#fff"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_SLOT + 4}" style="fill:{fill}"/>'
            )
            parts.append(_write(x + 7, y + 15, cell, ' class="state"' if head else ""))
            x += width
        y += _SLOT + 4
    return _MARGIN * 2 + sum(widths), y + 2 * _MARGIN


FORMATS: dict[str, Callable[[dict[str, list[Table]], Taken], str]] = {"text": _text, "mermaid": _mermaid, "svg": _svg}
