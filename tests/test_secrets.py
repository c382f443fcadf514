"""No password, key or token in the files, in the stored outputs or in the history.

Each pattern takes what a program would accept as a secret; what the tests and the texts use instead
of one is listed here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from urllib.parse import unquote

import pytest

from notebooks import ROOT

# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
# and the pages of each issuer; a URL's password ends at the last @ before the path.
PATTERNS = {
    "password in a URL": r"\b[a-z][a-z0-9+.-]*://[^\s:/@\"'`<>]*:(?P<secret>[^\s/\"'`<>]+)@",
    "password in a query": r"[?&](?:password|passwd|token)=(?P<secret>[^\s&\"'`<>{}]+)",
    "password in an assignment": r"(?i)\b\w*(?:password|passwd|secret|token|api_?key)[\"']?\s*[:=]\s*"
    r"[\"'](?P<secret>[^\s\"'{}%]{6,})[\"']",
    "private key": r"(?P<secret>-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----)",
    "hash of a password": r"(?P<secret>SCRAM-SHA-256\$\d+:[\w+/=]+\$|\bargon2:\$argon2|\bmd5[0-9a-f]{32}\b)",
    "key of AWS": r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b",
    "key of Google": r"\b(?P<secret>AIza[\w-]{35})\b",
    "token of GitHub": r"\b(?P<secret>gh[pousr]_\w{36,}|github_pat_\w{50,})\b",
    "token of GitLab": r"\b(?P<secret>glpat-[\w-]{20,})",
    "token of PyPI": r"\b(?P<secret>pypi-AgEI[\w-]{50,})",
    "token of npm": r"\b(?P<secret>npm_\w{36})\b",
    "token of Slack": r"\b(?P<secret>xox[abeprs]-[\w-]{10,})",
    "token of JupyterLab": r"[?&]token=(?P<secret>[0-9a-f]{32,})",
    "signed token": r"\b(?P<secret>eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})",
}
COMPILED = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}

# Words that stand for a password in texts and tests, and open nothing.
NOT_SECRET = {
    "***",
    "PASSWORD",
    "password",
    "secret",
    "thing",
    "x",
    "Pa55",
    "s3cr3t",
    "pa55word",
    "Pa55-w0rd",
    "syntax",  # of a table of error words
}
A_NAME = re.compile(r"\{[\w.]+(?:\[[^\]]*\])?\}|\$\{?\w+\}?|%\w*s?|\.\.\.|…")


def secrets_in(text: str) -> list[str]:
    """What in a text looks like a secret: its kind and its first letters."""
    found = []
    for kind, pattern in COMPILED.items():
        for match in pattern.finditer(text):
            secret = unquote(match["secret"]).partition("@")[0]
            if secret not in NOT_SECRET and not A_NAME.fullmatch(secret):
                found.append(f"{kind}: {secret[:4]}...")
    return found


def git(*words: str, given: bytes | None = None) -> bytes:
    done = subprocess.run(["git", *words], cwd=ROOT, input=given, capture_output=True)
    if done.returncode:
        pytest.skip("no git history here")
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def has_git():
    if not shutil.which("git"):
        pytest.skip("no git here")


def listed() -> list:
    """The files that are in git or could be added to it."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = [ROOT / name for name in names.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def read(name: str, content: bytes) -> str:
    """A file as text; a notebook also as a reader meets it, with its pictures unpacked."""
    text = content.decode(errors="replace")
    if not name.endswith(".ipynb"):
        return text
    texts = [text]
    for cell in json.loads(text)["cells"]:
        parts = [cell.get("source")]
        for output in cell.get("outputs", ()):
            parts += [output.get("text"), output.get("evalue"), output.get("traceback")]
            parts += output.get("data", {}).values()
        texts += ["".join(part) for part in parts if isinstance(part, (str, list))]
    return unquote("\n".join(texts))


def test_no_secret_in_a_file():
    files = listed()
    assert len(files) > 50
    found = {}
    for path in files:
        found[path.name] = secrets_in(read(path.name, path.read_bytes()))
    assert {name: what for name, what in found.items() if what} == {}


def test_no_secret_in_the_history():
    """Every version of every file, and every message, on every branch."""
    every = git("rev-list", "--objects", "--all")
    names = dict(line.partition(" ")[::2] for line in every.decode().splitlines())
    batch = git("cat-file", "--batch", given="\n".join(names).encode())
    found, at, seen = [], 0, 0
    while at < len(batch):
        end = batch.index(b"\n", at)
        number, kind, size = batch[at:end].decode().split()
        body = batch[end + 1 : end + 1 + int(size)]
        at = end + 2 + int(size)
        if kind in ("blob", "commit", "tag"):
            seen += 1
            what = secrets_in(read(names[number], body))
            found += [f"{number[:8]} {names[number]}: {each}" for each in what]
    assert seen > 50
    assert found == []


def planted() -> dict[str, str]:
    """A secret of each kind, put together here so that this file holds none."""
    letters = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9" * 2
    return {
        "password in a URL": "postgresql://ada:"
        + "corr3ct-horse"
        + "@db.example/school",
        "password in a query": "https://db.example/?" + "password=" + "corr3ct-horse",
        "password in an assignment": "PASSWORD" + ' = "' + "corr3ct-horse" + '"',
        "private key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
        "hash of a password": "SCRA" + "M-SHA-256$4096:abcd+/==$x",
        "key of AWS": "AKIA" + "IOSFODNN7EXAMPL3",
        "key of Google": "AIza" + letters[:35],
        "token of GitHub": "ghp_" + letters[:36],
        "token of GitLab": "glpat-" + letters[:20],
        "token of PyPI": "pypi-AgEI" + letters[:50],
        "token of npm": "npm_" + letters[:36],
        "token of Slack": "xoxb-" + "123456789012-abc",
        "token of JupyterLab": "http://localhost:8888/lab?"
        + "token="
        + "0123456789abcdef" * 3,
        "signed token": "eyJ"
        + "hbGciOiJIUz."
        + "eyJ"
        + "zdWIiOiIxMj.SflKxwRJSMeKKF2QT4",
    }


@pytest.mark.parametrize("kind", PATTERNS)
def test_each_kind_is_known(kind):
    said = secrets_in(f"x {planted()[kind]} y")
    assert any(each.startswith(kind) for each in said)
    assert not any(planted()[kind] in each for each in said), "it is not said again"


def test_a_planted_password_is_found(tmp_path, monkeypatch):
    """In a stored output, and in the history when the file is gone."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    git("init", "-q")
    git("config", "user.email", "ada@b.example")
    git("config", "user.name", "Ada")
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"nothing {number}")
    test_no_secret_in_a_file()
    html = f"<pre>{planted()['password in an assignment']}</pre>"
    book = {"cells": [{"outputs": [{"data": {"text/html": [html]}}]}]}
    (tmp_path / "a.ipynb").write_text(json.dumps(book))
    with pytest.raises(AssertionError, match="password in an assignment: corr"):
        test_no_secret_in_a_file()
    git("add", ".")
    git("commit", "-q", "-m", "one")
    (tmp_path / "a.ipynb").unlink()
    git("commit", "-q", "-a", "-m", "two")
    test_no_secret_in_a_file()
    with pytest.raises(AssertionError, match="a.ipynb: password in an assignment"):
        test_no_secret_in_the_history()


def test_what_the_texts_write_is_no_secret():
    for fine in (
        "postgresql://ada:PASSWORD@db.example:5432/school",
        "postgresql+psycopg://ada:***@h/d",
        'f"postgresql://ada:{SECRET}@h/d"',
        "postgresql://$USER:${WORD}@h/d",
        "https://docs.sqlalchemy.org/en/21/orm/session_state_management.html",
        "https://example.org:8000/path and ada@example.org",
    ):
        assert secrets_in(fine) == [], fine
