"""Says before a delete what it will do: to which rows, by whom, and with how many statements.

No row is read but keys of objects that the Session holds: a set of rows is a condition, which the
database counts. `walk` follows the foreign keys, `known` says what is not foreseen, `facts` adds up.

Sources: https://docs.sqlalchemy.org/en/21/orm/cascades.html#delete,
https://docs.sqlalchemy.org/en/21/orm/collections.html#passive-deletes,
https://www.sqlite.org/foreignkeys.html and
https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import InternalError, NoInspectionAvailable, PendingRollbackError
from sqlalchemy.orm import InstanceState, Mapper, Session, scoped_session

from .._catalogue import Catalogue, connected
from .._html import Shown, columned, escape, headed, plural
from .._statements import highlight
from ..errors import LessonError
from ..sql import quiet
from .asked import Asked
from .facts import DeleteFacts, Refusal, facts_of, refused_at
from .walk import DELETED, REFUSED, SET_NULL, Walk

__all__ = ["DeleteFacts", "DeletePreview", "Refusal", "preview_delete"]


class DeletePreview(Shown):
    """What `preview_delete` returns: a display, and its `facts`."""

    def __init__(self, html: str, plain: str, facts: DeleteFacts) -> None:
        super().__init__(html, plain)
        self.facts = facts


def preview_delete(session: Session, obj: Any) -> DeletePreview:
    """Foresee what `session.delete(obj)` and a commit will do, over all levels of relationships.

    Only SELECTs are sent, which count rows or look for keys that the Session holds, and the
    catalogue is asked; the display shows them. Nothing is flushed, loaded or changed.

    Args:
        session: an open Session; with an AsyncSession write
            `await session.run_sync(preview_delete, obj)`.
        obj: a persistent object of that Session.

    Returns:
        A display of the rows that will be deleted, set to NULL or refused, by whom, and of the
        statements; `.facts` has the same as a `DeleteFacts`. What cannot be known is said there:
        triggers, pending changes of the Session, parts of a mapping that are not foreseen. What
        another transaction changes after the preview is not seen.

    Raises:
        LessonError: when there is no Session, when `obj` is no object that this Session could
            delete, or when one of the tables does not exist.
    """
    state = _checked(session, obj)
    with quiet(), _connection(state.session, state.mapper) as connection:
        if connection.dialect.name not in ("sqlite", "postgresql"):
            raise LessonError(
                "preview_delete knows SQLite and PostgreSQL, and no other database."
            )
        catalogue = Catalogue(connection, state.mapper)
        asked = Asked(connection, catalogue)
        walk = Walk(state, catalogue, asked)
        facts = facts_of(walk, catalogue)
    key = ", ".join(map(str, state.key[1]))
    return _drawn(f"{state.mapper.class_.__name__} {key}", facts, walk, asked)


def _checked(session: Any, obj: Any) -> InstanceState:
    if hasattr(session, "sync_session"):
        raise LessonError(
            "preview_delete cannot look through an AsyncSession by itself: write "
            "await session.run_sync(preview_delete, obj)."
        )
    if isinstance(session, scoped_session):
        session = session()
    if not isinstance(session, Session):
        raise LessonError(
            "preview_delete(session, obj) needs an open Session as its first value."
        )
    try:
        state = inspect(obj)
        if not isinstance(state, InstanceState):
            raise NoInspectionAvailable
    except NoInspectionAvailable:
        name = obj.__name__ if isinstance(obj, type) else type(obj).__name__
        what = "a class" if isinstance(obj, type) else "not mapped"
        raise LessonError(
            f"{name} is {what}: preview_delete needs one object of a mapped class."
        ) from None
    name = state.mapper.class_.__name__
    if state.transient or state.pending:
        raise LessonError(
            f"This {name} has no row yet, so there is nothing to delete: add it and commit first."
        )
    if state.deleted or obj in session.deleted:
        raise LessonError(
            f"This {name} is deleted already in this transaction: session.rollback() undoes it."
        )
    if state.detached:
        raise LessonError(
            f"This {name} is in no Session: get it with this Session first, as in "
            f"session.get({name}, ...)."
        )
    if state.session is not session:
        raise LessonError(
            f"This {name} belongs to another Session: give preview_delete that one."
        )
    return state


@contextmanager
def _connection(session: Session, mapper: Mapper) -> Iterator[Connection]:
    """The Session's own connection; while it has no transaction, another, so that none begins."""
    if not session.in_transaction():
        with connected(session.get_bind(mapper)) as connection:
            yield connection
        return
    try:
        yield session.connection(bind_arguments={"mapper": mapper})
    except (PendingRollbackError, InternalError) as error:
        raise LessonError(
            "A statement of this Session failed: call session.rollback() first."
        ) from error


def _drawn(name: str, facts: DeleteFacts, walk: Walk, asked: Asked) -> DeletePreview:
    sent = "number of statements not known"
    if facts.statements is not None:
        loads = f", {walk.selects} of them to load" if walk.selects else ""
        sent = f"{plural(facts.statements, 'statement')}{loads}"
    end = "; refused, so that nothing changes" if facts.refused else ""
    title = f"session.delete({name}) and a commit: {sent}{end}"
    lines = []
    for part in walk.parts:
        what = part.what if part.known else "not known"
        what = f"{what} {refused_at(part)}" if what == REFUSED else what
        lines.append([part.table, str(part.rows), what, part.who, part.why])
    head = ["table", "rows", "what happens", "by", "because"]
    looked = f"Seen in the catalogue and by {plural(len(asked.statements), 'SELECT')}, as things are now"
    plain = [title, columned([head, *lines])]
    plain += [f"  not known: {sentence}" for sentence in facts.unknown]
    plain.append(f"  {looked}:")
    for statement, _, values in asked.statements:
        plain += [f"    {line}" for line in statement.splitlines()]
        plain += [f"        {values}"] if values else []
    kinds = {DELETED: "del", SET_NULL: "upd"}
    rows = "".join(
        f'<tr class="{kinds.get(what, "")}"><th scope="row"><code>{escape(table)}</code></th>'
        f"<td>{number}</td><td><b>{escape(what)}</b></td><td>{who}</td><td>{escape(why)}</td></tr>"
        for table, number, what, who, why in lines
    )
    unknown = "".join(
        f"<div><b>not known:</b> {escape(sentence)}</div>" for sentence in facts.unknown
    )
    shown = "".join(
        f'<pre class="ls-stmt">{highlight(real)}</pre>'
        f'<div class="ls-said"><div><code>{escape(values)}</code></div></div>'
        for _, real, values in asked.statements
    )
    html = (
        f'<div class="ls">{headed(title, head, rows)}{unknown}'
        f"<details><summary>{looked}</summary>{shown}</details></div>"
    )
    return DeletePreview(html, "\n".join(plain), facts)
