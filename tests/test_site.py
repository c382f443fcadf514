"""The site: what the command writes where, and what its Python says of things a browser lacks. What the
built site does in a browser is in browser/."""

from __future__ import annotations

import zipfile

import pytest

from lesson_support import browser
from lesson_support.commands import CommandError, site

# The folder.


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(CommandError, match="something else"):
        site.main(["--output", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    file = tmp_path / "site"
    file.write_text("precious")
    with pytest.raises(CommandError, match="is a file"):
        site.main(["--output", str(file)])
    assert file.read_text() == "precious"


def test_without_node_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="install Node.js"):
        site.main(["--output", str(tmp_path / "site")])


def test_an_archive_has_the_same_bytes_for_the_same_files(tmp_path):
    for name, text in {"a.py": "1", "a.pyc": "2", "b.txt": "3"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pygments/lexers").mkdir(parents=True)
    (tmp_path / "pygments/lexers/cobol.py").write_text("never used")
    files = ["b.txt", "a.py", "pygments/lexers/cobol.py"]
    made = site.zipped(tmp_path, files)
    (tmp_path / "a.py").touch()
    assert made == site.zipped(tmp_path, files[::-1])
    (tmp_path / "made.zip").write_bytes(made)
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        assert archive.namelist() == ["a.pyc", "b.txt"]


# What a browser lacks.


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (browser.NotHere("pandas"), "pandas"),
        (OSError(138, "emscripten does not support processes."), "a second process"),
        (RuntimeError("can't start new thread"), "a thread"),
        (ModuleNotFoundError("No module named 'alembic'"), "alembic"),
        (ModuleNotFoundError("No module named 'alembicc'"), ""),
        (ValueError("a fault of the learner's own"), ""),
    ],
)
def test_what_is_lacking_is_named(error, what):
    assert browser._lacking(type(error), str(error)) == what


def test_names_of_a_cell_that_stopped_say_why_they_are_not_there():
    names = {"known": 1}
    code = "import pandas as pd\nknown = 2\nframe = pd.DataFrame()\ndef f(): inner = 1"
    browser._stand_in(names, code, "pandas")
    assert names["known"] == 1
    assert set(names) == {"known", "pd", "frame", "f"}
    for use in (len, list, bool, lambda f: f.size, lambda f: f["a"], lambda f: f()):
        with pytest.raises(browser.NotHere, match="needs pandas"):
            use(names["frame"])
    assert repr(names["frame"]) == "(not there: it needs pandas)"


def test_the_stand_in_for_pandas_stops_where_pandas_is_needed():
    names: dict = {"__name__": "pandas"}
    exec((site.TEMPLATES / "pandas.py").read_text("utf-8"), names)
    names["set_option"]("display.width", 120)
    with pytest.raises(browser.NotHere, match="needs pandas"):
        names["__getattr__"]("DataFrame")
    with pytest.raises(AttributeError):
        names["__getattr__"]("__path__")
