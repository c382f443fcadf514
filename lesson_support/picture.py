"""Draws the tables of a `Base`: boxes, keys, and which side is the one and which the many."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import MetaData, Table, UniqueConstraint

from ._html import Shown, columned, escape, tables_of
from .errors import LessonError

__all__ = ["bars", "diagram"]

# Monospace metrics, so that the picture never depends on the fonts of the machine that drew it.
_BAR = 40
_CHAR, _ROW, _PAD, _GAP, _LOOP = 7.3, 22, 10, 120, 64
_CSS = (
    "svg{color:#1f2328;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e6edf3;background:#161b22}}"
    "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:currentColor}"
    ".b{font-weight:bold}.u{text-decoration:underline}.d{opacity:.75}"
    ".l{fill:none;stroke:currentColor;stroke-width:1.5}"
    ".o{fill:currentColor;fill-opacity:.04;stroke:currentColor;stroke-opacity:.65}"
    ".h{fill:currentColor;fill-opacity:.14}"
)


def diagram(base: Any) -> Shown:
    """Draw the tables that a mapping describes; no database is asked.

    Args:
        base: a declarative `Base`, or a `MetaData`.

    Returns:
        A picture, and the same as text: tables, columns with type and NOT NULL, primary keys (PK),
        foreign keys (FK), unique columns (UQ), and for each foreign key its one and its many side.

    Raises:
        LessonError: when there is no table to draw.
    """
    metadata = getattr(base, "metadata", base)
    if not isinstance(metadata, MetaData) or not metadata.tables:
        raise LessonError(
            "diagram(Base) draws the tables of a Base; this one has no mapped class yet."
        )
    text = _text(metadata)
    alt = "Tables and their keys. " + "; ".join(
        line.strip() for line in text.splitlines()
    )
    picture = quote(_svg(metadata), safe=" =:/;,()-.'!@")
    return Shown(
        f'<img alt="{escape(alt)}" style="max-width:100%" src="data:image/svg+xml,{picture}">',
        text,
    )


def bars(numbers: dict[str, int], title: str) -> Shown:
    """Draw whole numbers as bars, for comparing how many statements or rows something took.

    Args:
        numbers: from a label to a number of at least 0, in the order to show.
        title: what is counted, "statements".

    Returns:
        A table with a bar and the number for each label; the plain form has bars of "#".

    Raises:
        LessonError: when there is nothing to draw, or a value is no such number.
    """
    fine = all(isinstance(number, int) and number >= 0 for number in numbers.values())
    if not numbers or not fine:
        raise LessonError(
            'bars({"label": 3}, "statements") draws whole numbers from 0 upwards.'
        )
    scale = max(*numbers.values(), 1)
    plain = [
        [label, str(number), "#" * round(_BAR * number / scale)]
        for label, number in numbers.items()
    ]
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{number}</td>'
        f'<td><div class="ls-bar" style="width:{6 * round(_BAR * number / scale)}px"></div></td></tr>'
        for label, number in numbers.items()
    )
    html = f'<div class="ls"><table><caption>{escape(title)}</caption><tbody>{rows}</tbody></table></div>'
    return Shown(html, f"{title}\n{columned(plain)}")


class _Box(NamedTuple):
    """A table in the picture: its corner, its width, its rows, and how many columns stand left of it."""

    x: float
    y: float
    width: float
    rows: list[tuple[str, str, str, str]]
    marks: int
    sizes: list[int]
    depth: int

    def middle(self, column: str) -> float:
        """The height of a column's line."""
        return (
            self.y + _ROW * ([row[1] for row in self.rows].index(column) + 1) + _ROW / 2
        )


class _Link(NamedTuple):
    """One foreign key, from the one side to the many side."""

    parent: str
    key: tuple[str, ...]
    child: str
    columns: tuple[str, ...]
    nullable: bool
    unique: bool


def _rows(table: Table) -> list[tuple[str, str, str, str]]:
    """Per column: its key marks, name, type, and "not null"; then the columns unique together."""
    foreign = {
        column.name for key in table.foreign_key_constraints for column in key.columns
    }
    rows = []
    for column in table.columns:
        marks = [
            mark
            for mark, holds in (
                ("PK", column.primary_key),
                ("FK", column.name in foreign),
                ("UQ", (column.name,) in _unique(table)),
            )
            if holds
        ]
        null = "" if column.nullable else "not null"
        rows.append((" ".join(marks), column.name, str(column.type), null))
    together = [
        tuple(column.name for column in table.columns if column.name in names)
        for names in _unique(table)
        if len(names) > 1
    ]
    return rows + [("UQ", _named(names), "", "") for names in sorted(together)]


def _unique(table: Table) -> set[tuple[str, ...]]:
    """The sets of columns that no two rows share, the primary key left out."""
    found = {(column.name,) for column in table.columns if column.unique}
    found |= {
        tuple(sorted(column.name for column in constraint.columns))
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    }
    found |= {
        tuple(sorted(column.name for column in index.columns))
        for index in table.indexes
        if index.unique
    }
    return found - {()}


def _links(metadata: MetaData) -> list[_Link]:
    links = []
    for table in tables_of(metadata):
        for key in sorted(
            table.foreign_key_constraints, key=lambda key: key.column_keys
        ):
            columns = tuple(column.name for column in key.columns)
            once = {*_unique(table), tuple(sorted(c.name for c in table.primary_key))}
            links.append(
                _Link(
                    key.referred_table.fullname,
                    tuple(element.column.name for element in key.elements),
                    table.fullname,
                    columns,
                    any(column.nullable for column in key.columns),
                    tuple(sorted(columns)) in once,
                )
            )
    return links


def _text(metadata: MetaData) -> str:
    lines = []
    for table in tables_of(metadata):
        rows = _rows(table)
        widths = [max(2, *(len(row[i]) for row in rows)) for i in (0, 1, 2)]
        lines.append(table.fullname)
        lines += [
            f"  {mark:<{widths[0]}} {name:<{widths[1]}}  {kind:<{widths[2]}}  {null}".rstrip()
            for mark, name, kind, null in rows
        ]
    for link in _links(metadata):
        one = "one or none of" if link.nullable else "one of"
        by = f"{link.child}.{_named(link.columns)} -> {link.parent}.{_named(link.key)}"
        if link.unique:
            lines.append(
                f"{link.parent} --- {link.child}: at most one of {link.child} to {one} {link.parent}, by {by}"
            )
        else:
            lines.append(
                f"{link.parent} (the one side) --< {link.child} (the many side): many of {link.child} "
                f"to {one} {link.parent}, by {by}"
            )
    return "\n".join(lines)


def _named(columns: tuple[str, ...]) -> str:
    return columns[0] if len(columns) == 1 else f"({', '.join(columns)})"


def _layout(metadata: MetaData) -> tuple[dict[str, _Box], float, float]:
    """Boxes in columns from left to right: each parent left of its children."""
    depth: dict[str, int] = {}
    tables = tables_of(metadata)
    for table in tables:
        parents = {key.referred_table.fullname for key in table.foreign_key_constraints}
        parents -= {table.fullname}
        placed = parents & depth.keys()  # in a circle, one of the two must come first
        depth[table.fullname] = max((depth[p] + 1 for p in placed), default=0)
    boxes, x, bottom = {}, 8.0, 0.0
    for column in range(max(depth.values()) + 1):
        y, widest = 8.0, 0.0
        for table in (t for t in tables if depth[t.fullname] == column):
            rows = _rows(table)
            sizes = [max(len(row[i]) for row in rows) for i in (1, 2, 3)]
            marks = max(2, *(len(row[0]) for row in rows))
            wide = marks + 3 + sizes[0] + sizes[1] + (2 + sizes[2] if sizes[2] else 0)
            width = max(wide, len(table.fullname)) * _CHAR + 2 * _PAD
            boxes[table.fullname] = _Box(x, y, width, rows, marks, sizes, column)
            y += _ROW * (len(rows) + 1) + 24
            widest = max(widest, width)
        bottom = max(bottom, y)
        x += widest + _GAP
    links = _links(metadata)
    loop = _LOOP if any(link.parent == link.child for link in links) else 0
    below = (
        14
        if any(boxes[k.child].depth - boxes[k.parent].depth > 1 for k in links)
        else 0
    )
    return boxes, x - _GAP + 8 + loop, bottom - 16 + below


def _svg(metadata: MetaData) -> str:
    boxes, width, height = _layout(metadata)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><style>{_CSS}</style>'
    ]
    for name, box in boxes.items():
        x, y = box.x, box.y
        parts.append(
            f'<rect class="o" x="{x:.0f}" y="{y:.0f}" width="{box.width:.0f}" '
            f'height="{_ROW * (len(box.rows) + 1)}" rx="4"/>'
            f'<rect class="h" x="{x:.0f}" y="{y:.0f}" width="{box.width:.0f}" height="{_ROW}" rx="4"/>'
            f'<text class="b" x="{x + box.width / 2:.0f}" y="{y + 15:.0f}" text-anchor="middle">'
            f"{escape(name)}</text>"
        )
        marks, sizes = box.marks, box.sizes
        places = (0, marks + 1, marks + 3 + sizes[0], marks + 5 + sizes[0] + sizes[1])
        starts = [x + _PAD + _CHAR * place for place in places]
        for i, (mark, column, kind, null) in enumerate(box.rows, 1):
            under = "u" if mark.startswith("PK") else ""
            cells = ((mark, "b"), (column, under), (kind, "d"), (null, "d"))
            parts.append(f'<text y="{y + _ROW * i + 15:.0f}">')
            parts += [
                f'<tspan x="{start:.0f}"'
                + (f' class="{style}"' if style else "")
                + f">{escape(cell)}</tspan>"
                for start, (cell, style) in zip(starts, cells, strict=True)
                if cell
            ]
            parts.append("</text>")
    before: Counter[str] = Counter()
    ends: dict[tuple[float, float, int], list[str]] = {}
    for link in _links(metadata):
        parent, child = boxes[link.parent], boxes[link.child]
        line, words = _line(link, parent, child, before[link.parent], height)
        parts.append(line)
        before[link.parent] += 1
        for place, word in words:
            if word not in ends.setdefault(place, []):
                ends[place].append(word)
    for (x, y, side), words in ends.items():
        anchor = ' text-anchor="end"' if side < 0 else ""
        parts.append(
            f'<text class="b" x="{x:.0f}" y="{y:.0f}"{anchor}>{" or ".join(sorted(words, reverse=True))}</text>'
        )
    return "".join(parts) + "</svg>"


def _line(
    link: _Link, parent: _Box, child: _Box, nth: int, height: float
) -> tuple[str, list[tuple[tuple[float, float, int], str]]]:
    """A line from the one side (a bar) to the many side (a crow's foot), and a word for each end.

    The second and later lines from a parent turn further left. Several columns of one key are
    held together by a bracket.
    """
    to_itself = parent is child
    leftwards = child.depth < parent.depth
    x1, out = (parent.x, -1) if leftwards else (parent.x + parent.width, 1)
    x2, back = (child.x + child.width, 1) if leftwards or to_itself else (child.x, -1)
    start, x1, y1 = _bracket(parent, link.key, x1, out)
    end, x2, y2 = _bracket(child, link.columns, x2, back)
    if (
        leftwards
    ):  # the other way round between two tables; apart from the line that is there
        y1, y2 = y1 + 6, y2 + 6
    if to_itself:
        turn = f"H{x1 + 28:.0f}V{y2:.0f}"
    elif leftwards:
        turn = f"H{(x1 + x2) / 2 + 12 * (nth + 1):.0f}V{y2:.0f}"
    elif child.depth - parent.depth > 1:
        turn = f"H{x1 + 20:.0f}V{height - 6:.0f}H{x2 - 30:.0f}V{y2:.0f}"
    else:
        turn = f"H{(x1 + x2) / 2 - 12 * nth:.0f}V{y2:.0f}"
    foot = (
        f"M{x2 + 8 * back:.0f} {y2 - 6:.0f}v12"
        if link.unique
        else f"M{x2 + 12 * back:.0f} {y2:.0f}L{x2:.0f} {y2 - 7:.0f}M{x2 + 12 * back:.0f} {y2:.0f}"
        f"L{x2:.0f} {y2 + 7:.0f}"
    )
    path = (
        f'<path class="l" d="{start}{end}M{x1:.0f} {y1:.0f}{turn}H{x2:.0f}'
        f'M{x1 + 8 * out:.0f} {y1 - 6:.0f}v12{foot}"/>'
    )
    one, many = "0..1" if link.nullable else "one", "0..1" if link.unique else "many"
    if to_itself:
        return path, [((x1 + 12, y1 - 5, 1), one), ((x1 + 33, y2 + 4, 1), many)]
    return path, [
        ((x1 + 12 * out, y1 - 5, out), one),
        ((x2 + 16 * back, y2 - 5, back), many),
    ]


def _bracket(
    box: _Box, columns: tuple[str, ...], x: float, out: int
) -> tuple[str, float, float]:
    """Where a key's line meets its table; before that, a bracket around several columns."""
    lines = [box.middle(column) for column in columns]
    if len(lines) == 1:
        return "", x, lines[0]
    top, bottom = min(lines), max(lines)
    shape = f"M{x:.0f} {top:.0f}h{6 * out}V{bottom:.0f}h{-6 * out}"
    return shape, x + 6 * out, (top + bottom) / 2
