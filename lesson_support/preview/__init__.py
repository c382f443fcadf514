"""Says before a delete what it will do: to which rows, by whom, and with how many statements.

Nothing is loaded, and no row is read but keys of objects that the Session holds. A set of rows is a
condition on a table, the set below it is a condition on the first, and the database counts. What
the Session does follows from the mapping and from what is loaded; what the database does follows
from its own foreign keys.

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
from sqlalchemy.exc import NoInspectionAvailable, PendingRollbackError
from sqlalchemy.orm import InstanceState, Mapper, Session

from .._html import Shown, columned, escape, plural
from .._statements import highlight as _highlight
from ..errors import LessonError
from ..sql import quiet
from .catalogue import Catalogue
from .outcome import DeleteFacts, Line, Outcome, Refusal
from .rows import Asked
from .walk import Walk

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
        triggers, pending changes of the Session, parts of a mapping that are not foreseen.

    Raises:
        LessonError: when there is no Session, when `obj` is no object that this Session could
            delete, or when one of the tables does not exist.
    """
    state = _checked(session, obj)
    with (
        session.no_autoflush,
        quiet(),
        _connection(session, state.mapper) as connection,
    ):
        asked = Asked(connection)
        catalogue = Catalogue(connection, state.mapper)
        walk = Walk(session, state, asked, catalogue)
        facts, lines = Outcome(walk, asked, catalogue).told()
    key = ", ".join(map(str, state.key[1]))
    return _drawn(f"{state.mapper.class_.__name__} {key}", facts, lines, asked)


def _checked(session: Any, obj: Any) -> InstanceState:
    if hasattr(session, "sync_session"):
        raise LessonError(
            "preview_delete cannot look through an AsyncSession by itself: write "
            "await session.run_sync(preview_delete, obj)."
        )
    if not isinstance(session, Session):
        raise LessonError(
            "preview_delete(session, obj) needs an open Session as its first value."
        )
    if isinstance(obj, (list, tuple, set, frozenset, dict)):
        raise LessonError(
            "preview_delete looks at one object: call it for each object of the collection."
        )
    try:
        state = inspect(obj)
        if not isinstance(state, InstanceState):
            raise NoInspectionAvailable
    except NoInspectionAvailable:
        name = obj.__name__ if isinstance(obj, type) else type(obj).__name__
        what = "a class" if isinstance(obj, type) else "not mapped"
        raise LessonError(
            f"{name} is {what}: preview_delete needs an object of a mapped class."
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
    bind = session.get_bind(mapper)
    if not session.in_transaction() and not isinstance(bind, Connection):
        with bind.connect() as connection:
            yield connection
        return
    try:
        connection = session.connection(bind_arguments={"mapper": mapper})
    except PendingRollbackError:
        raise LessonError(
            "A statement of this Session failed: call session.rollback() first."
        ) from None
    yield connection


def _drawn(
    name: str, facts: DeleteFacts, lines: list[Line], asked: Asked
) -> DeletePreview:
    count = (
        "" if facts.statements is None else f": {plural(facts.statements, 'statement')}"
    )
    end = ", refused, so that nothing changes" if facts.refused else ""
    title = f"session.delete({name}) and a commit{count}{end}"
    head = ["table", "rows", "what happens", "by", "because"]
    cells = [[line.table, str(line.rows), *line[2:]] for line in lines]
    looked = plural(len(asked.statements), "SELECT")
    plain = [title, columned([head, *cells])]
    plain.append(f"  steps: {', '.join(facts.steps)}")
    plain += [f"  not known: {sentence}" for sentence in facts.unknown]
    plain.append(f"  To foresee this, {looked} and the catalogue were asked:")
    for statement, _, values in asked.statements:
        plain += [f"    {line}" for line in statement.splitlines()]
        plain += [f"        {values}"] if values else []
    kinds = {"deleted": "del", "set to NULL": "upd"}
    body = "".join(
        f'<tr class="{kinds.get(line.what, "")}"><th scope="row"><code>{escape(line.table)}</code>'
        f"</th><td>{line.rows}</td><td><b>{escape(line.what)}</b></td><td>{escape(line.who)}</td>"
        f"<td>{escape(line.why)}</td></tr>"
        for line in lines
    )
    columns = "".join(f'<th scope="col">{word}</th>' for word in head)
    unknown = "".join(
        f"<div><b>not known:</b> {escape(sentence)}</div>" for sentence in facts.unknown
    )
    sent = "".join(
        f'<pre class="ls-stmt">{_highlight(real)}</pre><div class="ls-said"><div><code>'
        f"{escape(values)}</code></div></div>"
        for _, real, values in asked.statements
    )
    html = (
        f'<div class="ls"><table><caption>{escape(title)}</caption><thead><tr>{columns}</tr></thead>'
        f"<tbody>{body}</tbody></table><div>steps: {escape(', '.join(facts.steps))}</div>{unknown}"
        f"<details><summary>To foresee this, {looked} and the catalogue were asked</summary>"
        f"{sent}</details></div>"
    )
    return DeletePreview(html, "\n".join(plain), facts)
