"""`docs/find-an-answer.md`: written from `notebooks/index.yml`, which lists what is taught where."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lesson_support.commands import PROJECT, CommandError

INDEX = PROJECT / "notebooks" / "index.yml"
PAGE = PROJECT / "docs" / "find-an-answer.md"
PLAIN_IN_ANCHORS = "():;,?!'=/+"  # JupyterLab compares the anchor as it is written
HEAD = """\
# Find an answer

Each line is a question in a learner's words, and the section of a lesson that answers it with cells that run. This page is
written by `python3 -m lesson_support refresh` from `notebooks/index.yml`.
"""


@dataclass(frozen=True)
class Answer:
    """One line of the index: a topic (T001) or a question, and the section that answers it."""

    id: str
    ask: str
    lesson: str
    heading: str


def read(path: Path = INDEX) -> list[Answer]:
    """The lines of the index, in its order. Raises CommandError where it is not what it should be."""
    import yaml

    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [Answer(**{key: str(line[key]) for key in line}) for line in listed]
    except OSError as error:
        raise CommandError(f"{path.name} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, TypeError) as error:
        raise CommandError(
            f"{path.name} must be a list of id, ask, lesson and heading; undo its last change"
        ) from error


def page(answers: list[Answer]) -> str:
    """The text of the page: a section for each lesson, in the order of their numbers."""
    parts = [HEAD]
    for lesson in sorted({answer.lesson for answer in answers}):
        title = lesson.replace("-", " ", 1).replace("-", " ")
        parts.append(f"\n## {title}\n\n")
        for answer in answers:
            if answer.lesson == lesson:
                heading = answer.heading.replace("`", "").replace(" ", "-")
                anchor = quote(heading, safe=PLAIN_IN_ANCHORS)
                target = f"../notebooks/{lesson}.ipynb#{anchor}"
                if anchor.count("(") != anchor.count(")"):
                    target = f"<{target}>"  # else Markdown takes it for no link
                parts.append(f"- {answer.ask} [{answer.heading}]({target})\n")
    return "".join(parts)


def write() -> None:
    """Writes the page where the index has changed."""
    text = page(read())
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")
        print(f"{PAGE.relative_to(PROJECT).as_posix()}: refreshed")
