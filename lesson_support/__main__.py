"""`python3 -m lesson_support COMMAND`: starts on a bare Python and goes on inside `.venv`."""

import os
import sys
from importlib import import_module

from lesson_support.commands import CommandError, setup

COMMANDS = {
    "lab": "open JupyterLab on the first lesson",
    "test": "run every check, on SQLite and on PostgreSQL",
    "refresh": "run notebooks and store their outputs",
    "setup": "fetch all packages, for later without network",
    "doctor": "say what is installed, which database answers and what to do",
    "reset": "throw your own workspace away",
    "classroom": "give each learner of a class a role on one PostgreSQL server",
    "book": "build the lessons as pages for reading, with a search",
    "site": "build the lessons as a site that runs in the browser",
    "check-models": "name what will hurt in the mapping of your own classes",
}
# Reads the code of another project, so it stays in that project's environment.
STAYS = ("check-models",)


def overview() -> str:
    """The text of `--help`: each command with what it does."""
    rows = [f"  {name:<14}{what}" for name, what in COMMANDS.items()]
    head = "usage: python3 -m lesson_support COMMAND [options]\n"
    return "\n".join([head, *rows, "\nCOMMAND --help says more."])


def run(args: "list[str]") -> int:
    """Runs one command and returns its exit code; what stops it is raised as CommandError."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        raise CommandError(
            f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}"
        )
    setup.check_python(name)
    if name not in STAYS and not {"-h", "--help"} & set(rest):
        code = setup.enter_environment(args)
        if code is not None:
            return code
    module = name.replace("-", "_")
    return import_module(f"lesson_support.commands.{module}").main(rest)


def main() -> int:
    """Runs the command of the command line; an expected failure is one sentence and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")
    try:
        return run(sys.argv[1:])
    except CommandError as error:
        sentence = str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except Exception as error:
        from lesson_support.errors import LessonError

        if not isinstance(error, LessonError):
            raise
        sentence = str(error)
    print(f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
