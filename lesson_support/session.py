"""Shows what a Session knows about objects, without touching them."""

from __future__ import annotations

from itertools import islice
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Session

from ._html import Shown, columned, escape, short
from .errors import LessonError

__all__ = ["Timeline", "states", "timeline"]

_STATES = {
    "transient": ("○", "only in Python"),
    "pending": ("◔", "added, not yet sent"),
    "persistent": ("●", "has a row, in a Session"),
    "deleted": ("✕", "DELETE was sent, not yet committed"),
    "detached": ("◌", "has or had a row, in no Session"),
}

_SHOWN_KEYS = 12
_SORTED_KEYS = 1000  # of more, the first come in the order in which they were loaded


def states(session: Session, **objects: Any) -> Shown:
    """Show in which of its five states each object is, and what the Session's identity map holds.

    Looking changes nothing: no attribute is read, so nothing is loaded or flushed.
    https://docs.sqlalchemy.org/en/21/orm/session_state_management.html

    Args:
        session: the Session to look into, or the AsyncSession.
        objects: mapped objects by the name to show, as in `states(session, physics=physics)`.

    Returns:
        A display with one line an object: its state, its identity, and notes (changed attributes,
        marked for deletion, expired, collections that are not loaded).

    Raises:
        LessonError: when `session` is no Session, or one of the objects is not mapped.
    """
    session = getattr(session, "sync_session", session)
    if not isinstance(session, Session):
        raise LessonError(
            "states(session, name=object) needs an open Session as its first value."
        )
    rows = []
    for name, item in objects.items():
        try:
            state = inspect(item)
            word = next(word for word in _STATES if getattr(state, word))
        except (NoInspectionAvailable, AttributeError, StopIteration):
            raise LessonError(
                f"{name} is no object of a mapped class, so it has no state."
            ) from None
        rows.append((name, word, _identity(state.identity_key), _notes(session, state)))
    count = len(session.identity_map)
    keys = list(islice(session.identity_map.keys(), _SORTED_KEYS))
    if count <= _SORTED_KEYS:
        keys.sort(key=lambda key: (key[0].__name__, short(key[1][0]).zfill(20)))
    held = [_identity(key) for key in keys[:_SHOWN_KEYS]]
    held += [f"… and {count - _SHOWN_KEYS} more"] if count > _SHOWN_KEYS else []
    title = (
        f"The Session holds {len(session.new)} new, {len(session.dirty)} changed, "
        f"{len(session.deleted)} marked for deletion; identity map: {', '.join(held) or 'empty'}"
    )
    lines = [["object", "state", "", "identity", "notes"]]
    lines += [
        [n, f"{_STATES[w][0]} {w}", _STATES[w][1], i, notes] for n, w, i, notes in rows
    ]
    plain = columned(lines)
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th>'
        f"<td>{_STATES[word][0]} <b>{word}</b></td><td>{_STATES[word][1]}</td>"
        f"<td>{escape(identity)}</td><td>{escape(notes)}</td></tr>"
        for name, word, identity, notes in rows
    )
    head = "".join(
        f'<th scope="col">{w}</th>'
        for w in ("object", "state", "that is", "identity", "notes")
    )
    html = (
        f'<div class="ls"><table><caption>{escape(title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return Shown(html, f"{title}\n{plain}" if rows else title)


def _is_expired(state) -> bool:
    relationships = set(state.mapper.relationships.keys())  # noqa: SIM118
    return bool(state.persistent and state.expired_attributes - relationships)


def _identity(key: tuple | None) -> str:
    return f"{key[0].__name__} {', '.join(map(short, key[1]))}" if key else "none yet"


def _notes(session: Session, state) -> str:
    item, notes = state.obj(), []
    if state.session not in (None, session):
        return "in another Session"
    if item in session.dirty:
        changed = [a.key for a in state.attrs if a.history.has_changes()]
        if changed:
            notes.append("changed: " + ", ".join(changed))
    if item in session.deleted:
        notes.append("marked for deletion")
    if state.persistent:
        relationships = set(state.mapper.relationships.keys())  # noqa: SIM118
        unloaded = sorted(relationships & state.unloaded)
        if _is_expired(state):
            notes.append("expired")
        elif unloaded:
            notes.append("not loaded: " + ", ".join(unloaded))
    return "; ".join(notes)


class Timeline(Shown):
    """What `timeline` returns: called after each step, it notes the states of its objects."""

    def __init__(self, objects: dict[str, Any]) -> None:
        self._objects = objects
        self._moments: list[tuple[str, dict[str, tuple[str, str]]]] = []
        super().__init__("", "no moment was noted yet")

    def __call__(self, moment: str) -> None:
        """Note the states at this moment, under a few words that name it."""
        seen = {}
        for name, item in self._objects.items():
            state = inspect(item)
            word = next(word for word in _STATES if getattr(state, word))
            seen[name] = (word, "expired" if _is_expired(state) else "")
        self._moments.append((moment, seen))
        self.html, self.plain = _draw_moments(list(self._objects), self._moments)


def timeline(**objects: Any) -> Timeline:
    """Follow the states of objects over several steps; the looking changes nothing.

    Args:
        objects: mapped objects by the name to show, as in `story = timeline(physics=physics)`.

    Returns:
        A display to call after each step, `story("added")`, and to show at the end: one line a
        moment, one column an object. A state that differs from the one before is marked.

    Raises:
        LessonError: when one of the objects is not mapped.
    """
    for name, item in objects.items():
        if inspect(item, raiseerr=False) is None or not hasattr(
            inspect(item), "transient"
        ):
            raise LessonError(
                f"{name} is no object of a mapped class, so it has no state."
            )
    return Timeline(objects)


def _draw_moments(names: list[str], moments: list) -> tuple[str, str]:
    lines, rows = [["", *names]], []
    last: dict[str, str] = {}
    for moment, seen in moments:
        plain, cells = [moment], [f'<th scope="row">{escape(moment)}</th>']
        for name in names:
            word, note = seen[name]
            new = name in last and last[name] != word
            last[name] = word
            text = f"{'→ ' if new else ''}{_STATES[word][0]} {word}" + (
                f" ({note})" if note else ""
            )
            plain.append(text)
            cells.append(f"<td><b>{text}</b></td>" if new else f"<td>{text}</td>")
        lines.append(plain)
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(
        f'<th scope="col">{escape(name)}</th>' for name in ["moment", *names]
    )
    html = (
        f'<div class="ls"><table><caption>States over time (→ marks a change)</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    return html, "States over time (→ marks a change)\n" + columned(lines)
