"""Draws the tables of a `Base`: boxes, keys, and which side is the one and which the many."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import MetaData, Table

from ._html import Shown, escape
from .errors import LessonError

__all__ = ["diagram"]

# Monospace metrics, so that the picture never depends on the fonts of the machine that drew it.
_CHAR, _ROW, _PAD, _GAP, _LOOP = 7.3, 22, 10, 120, 34
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
    alt = "Tables and their keys. " + "; ".join(line.strip() for line in text.splitlines())
    picture = quote(_svg(metadata), safe=" =:/;,()-.'!@")
    return Shown(
        f'<img alt="{escape(alt)}" style="max-width:100%" src="data:image/svg+xml,{picture}">', text
    )


def _rows(table: Table) -> list[tuple[str, str, str, str]]:
    """Per column: its key mark, name, type, and "not null"."""
    foreign = {column.name for key in table.foreign_key_constraints for column in key.columns}
    rows = []
    for column in table.columns:
        mark = "PK" if column.primary_key else "FK" if column.name in foreign else ""
        mark = mark or ("UQ" if column.unique else "")
        rows.append((mark, column.name, str(column.type), "" if column.nullable else "not null"))
    return rows


def _links(metadata: MetaData) -> list[tuple[str, str, str, str, bool, bool]]:
    """Per foreign key: parent, its column, child, its column, may be NULL, is unique."""
    links = []
    for table in metadata.sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda key: key.column_keys):
            column, target = key.columns[0], key.elements[0].column
            unique = bool(column.unique) or [c.name for c in table.primary_key] == [column.name]
            links.append(
                (target.table.name, target.name, table.name, column.name, column.nullable, unique)
            )
    return links


def _text(metadata: MetaData) -> str:
    lines = []
    for table in metadata.sorted_tables:
        rows = _rows(table)
        widths = [max(len(row[i]) for row in rows) for i in (1, 2)]
        lines.append(table.name)
        lines += [
            f"  {mark:<2} {name:<{widths[0]}}  {kind:<{widths[1]}}  {null}".rstrip()
            for mark, name, kind, null in rows
        ]
    for parent, key, child, column, nullable, unique in _links(metadata):
        many = "at most one" if unique else "many"
        one = "one or none of" if nullable else "one of"
        lines.append(
            f"{parent} (the one side) --< {child} (the many side): {many} of {child} "
            f"to {one} {parent}, by {child}.{column} -> {parent}.{key}"
        )
    return "\n".join(lines)


def _layout(metadata: MetaData) -> tuple[dict[str, tuple], float, float]:
    """Boxes (x, y, width, rows) in columns from left to right: each parent left of its children."""
    depth: dict[str, int] = {}
    for table in metadata.sorted_tables:
        parents = {key.referred_table.name for key in table.foreign_key_constraints}
        depth[table.name] = max((depth.get(p, 0) + 1 for p in parents - {table.name}), default=0)
    boxes, x, bottom = {}, 8.0, 0.0
    for column in range(max(depth.values()) + 1):
        y, widest = 8.0, 0.0
        for table in (t for t in metadata.sorted_tables if depth[t.name] == column):
            rows = _rows(table)
            sizes = [max(len(row[i]) for row in rows) for i in (1, 2, 3)]
            width = (
                3 + sizes[0] + 2 + sizes[1] + (2 + sizes[2] if sizes[2] else 0)
            ) * _CHAR + 2 * _PAD
            boxes[table.name] = (x, y, width, rows, sizes)
            y += _ROW * (len(rows) + 1) + 24
            widest = max(widest, width)
        bottom = max(bottom, y)
        x += widest + _GAP
    loop = _LOOP if any(link[0] == link[2] for link in _links(metadata)) else 0
    return boxes, x - _GAP + 8 + loop, bottom - 16


def _svg(metadata: MetaData) -> str:
    boxes, width, height = _layout(metadata)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><style>{_CSS}</style>'
    ]
    for name, (x, y, w, rows, sizes) in boxes.items():
        parts.append(
            f'<rect class="o" x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{_ROW * (len(rows) + 1)}"'
            f' rx="4"/><rect class="h" x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{_ROW}" rx="4"/>'
            f'<text class="b" x="{x + w / 2:.0f}" y="{y + 15:.0f}" text-anchor="middle">'
            f"{escape(name)}</text>"
        )
        starts = [x + _PAD + _CHAR * n for n in (0, 3, 5 + sizes[0], 7 + sizes[0] + sizes[1])]
        for i, (mark, column, kind, null) in enumerate(rows, 1):
            under = "u" if mark == "PK" else ""
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
    for parent, key, child, column, nullable, unique in _links(metadata):
        parts.append(_line(boxes[parent], key, boxes[child], column, nullable, unique))
    return "".join(parts) + "</svg>"


def _line(parent: tuple, key: str, child: tuple, column: str, nullable: bool, unique: bool) -> str:
    """A line from the one side (a bar) to the many side (a crow's foot), with both words."""

    def middle(box: tuple, name: str) -> float:
        return box[1] + _ROW * ([row[1] for row in box[3]].index(name) + 1) + _ROW / 2

    y1, y2 = middle(parent, key), middle(child, column)
    x1 = parent[0] + parent[2]
    if parent is child:
        x2, turn, back = x1, x1 + _LOOP - 6, 1
    else:
        x2 = child[0]
        turn, back = (x1 + x2) / 2, -1
    foot = (
        f"M{x2 + 8 * back:.0f} {y2 - 6:.0f}v12"
        if unique
        else f"M{x2 + 12 * back:.0f} {y2:.0f}L{x2:.0f} {y2 - 7:.0f}M{x2 + 12 * back:.0f} {y2:.0f}"
        f"L{x2:.0f} {y2 + 7:.0f}"
    )
    one, many = "0..1" if nullable else "one", "0..1" if unique else "many"
    path = (
        f'<path class="l" d="M{x1:.0f} {y1:.0f}H{turn:.0f}V{y2:.0f}H{x2:.0f}'
        f'M{x1 + 8:.0f} {y1 - 6:.0f}v12{foot}"/>'
    )
    if parent is child:
        return path
    return (
        f'{path}<text class="b" x="{x1 + 7:.0f}" y="{y1 - 9:.0f}">{one}</text>'
        f'<text class="b" x="{x2 - 7:.0f}" y="{y2 - 11:.0f}" text-anchor="end">{many}</text>'
    )
