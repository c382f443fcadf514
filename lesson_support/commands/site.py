"""`site`: builds the lessons as a folder of files that runs them in a browser, nothing installed.

JupyterLite is the notebook, Pyodide the Python; SQLAlchemy and SQLite run inside the browser. The
folder holds all of it, so that a plain file server is enough and no other server is ever asked.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lesson_support.commands import ASIDE, PROJECT, CommandError, children, setup

REQUIREMENTS = PROJECT / "requirements-site.txt"
TEMPLATES = PROJECT / "docs" / "site"
TOOLS = ASIDE / "site-tools"
CORE = ASIDE / "pyodide"
OUTPUT = ASIDE / "published" / "site"
MARK = "lesson-support-site.json"
FIRST = "notebooks/00-start-here.ipynb"
KERNEL = "@jupyterlite/pyodide-kernel-extension"

# What the lessons import in the browser, taken from this environment in the pinned versions.
IN_BROWSER = (
    "asttokens",
    "comm",
    "executing",
    "ipython",
    "ipython-pygments-lexers",
    "matplotlib-inline",
    "packaging",
    "prompt-toolkit",
    "pure-eval",
    "pygments",
    "sqlalchemy",
    "stack-data",
    "traitlets",
    "typing-extensions",
    "wcwidth",
)
# What the kernel of JupyterLite brings itself, and asks for by these names.
OF_THE_KERNEL = ("ipykernel", "piplite", "pyodide-kernel")
CORE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
LIBRARY = "python_stdlib.zip"
# Files of the templates, and where they stand among the packages: modules in the place of some that
# have no version for the browser, and what IPython runs when it starts.
STAND_INS = {
    "pandas.py": "pandas.py",
    "greenlet.py": "greenlet.py",
    "startup.py": "lesson_site/profile_default/startup/lessons.py",
}
STARTUP_THERE = "/lib/python3.14/site-packages/lesson_site"
# Machine code is of no use there, tests and type hints for editors neither.
LEFT_OUT = re.compile(
    r"\.(so|pyd|pyc|pyi|pyx|pxd|c)$|(^|/)(__pycache__|tests?)/|^sqlalchemy/testing/|^\.\.|^bin/"
    r"|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json)$"
)
# The parts of Python's library that a browser cannot use.
LIBRARY_LEFT_OUT = re.compile(
    r"^(ensurepip|idlelib|tkinter|turtledemo|test|venv)/|^turtle\.py$"
)
# The colours of some 500 languages, of which the kernel asks for few.
ONLY_IF_USED = re.compile(r"^pygments/lexers/(?!__init__|_mapping)\w+\.py$")
COMPRESSED = {".css", ".html", ".ipynb", ".js", ".json", ".mjs", ".svg", ".wasm"}
SMALLEST_COMPRESSED = 1_000


@dataclass(frozen=True)
class Package:
    """A package of the browser: its name and version, and its files below the common folder."""

    name: str
    version: str
    files: list[str]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python3 -m lesson_support site",
        description="Builds the lessons as a site that runs them in the browser, with nothing to"
        " install; any file server can serve it.",
    )
    made.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="DIR",
        help=f"the folder to write, {OUTPUT.relative_to(PROJECT)}; an earlier site there is replaced",
    )
    return made


def check_output(folder: Path) -> None:
    """Raises CommandError where a folder holds something that this command did not write."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise CommandError(
            f"{folder} holds something else than a site of these lessons, so it is left as it is;"
            " empty it or name another folder with --output"
        )
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is a file; name a folder with --output")


def tool(name: str) -> str:
    """The path of a program of Node.js; CommandError where it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise CommandError(
            f"`{name}` is not installed, and the site's Python comes from the registry of npm;"
            " install Node.js 20 or newer (on Debian and Ubuntu: sudo apt install nodejs npm), then"
            " run the same command again"
        )
    return found


def pyodide_version() -> str:
    """The release of Pyodide that the kernel was made for."""
    text = (TOOLS / "jupyterlite_pyodide_kernel" / "constants.py").read_text("utf-8")
    return re.search(r'^PYODIDE_VERSION = "(.+)"$', text, re.MULTILINE)[1]


def fetch_core() -> Path:
    """The folder with Pyodide's core, fetched from npm's registry once."""
    version = pyodide_version()
    folder = CORE / version
    if folder.is_dir():
        return folder
    setup.say(f"Fetching Pyodide {version} (once)")
    with setup.guarded(), tempfile.TemporaryDirectory(dir=ASIDE) as draft:
        npm = [tool("npm"), "pack", "--silent", f"pyodide@{version}"]
        setup.follow(
            [*npm, "--pack-destination", draft], "Pyodide cannot be downloaded"
        )
        with tarfile.open(Path(draft, f"pyodide-{version}.tgz")) as archive:
            archive.extractall(draft, filter="data")
        CORE.mkdir(parents=True, exist_ok=True)
        os.replace(Path(draft, "package"), folder)
    return folder


def gather(tree: Path) -> list[Package]:
    """Puts the files of every package of the browser into one folder, and says which are whose."""
    found = [take(metadata.distribution(name), tree) for name in IN_BROWSER]
    aside = metadata.Distribution.discover(name="micropip", path=[str(TOOLS)])
    found.append(take(next(iter(aside)), tree))
    wheels = TOOLS / "share/jupyter/labextensions" / KERNEL / "static/pypi"
    for name in OF_THE_KERNEL:
        with zipfile.ZipFile(
            next(wheels.glob(f"{name.replace('-', '_')}-*.whl"))
        ) as wheel:
            wheel.extractall(tree)
            files = [n for n in wheel.namelist() if not LEFT_OUT.search(n)]
            found.append(Package(name, wheel.filename.split("-")[-4], files))
    found.append(take_lessons(tree))
    found.append(write_package(tree, "jedi", "0", {}))  # asked for by name, not needed
    return found


def take(distribution: metadata.Distribution, tree: Path) -> Package:
    """Copies an installed package without what a browser has no use for."""
    files = [f.as_posix() for f in distribution.files or []]
    files = [name for name in files if not LEFT_OUT.search(name)]
    for name in files:
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(distribution.locate_file(name), target)
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
    return Package(name, distribution.version, files)


def take_lessons(tree: Path) -> Package:
    """Copies lesson_support without its commands, the rows of data/, and what stands in there."""
    paths = [*PROJECT.glob("lesson_support/**/*"), *PROJECT.glob("data/*")]
    contents = {
        path.relative_to(PROJECT).as_posix(): path.read_bytes()
        for path in sorted(paths)
        if path.is_file() and not {"commands", "__pycache__"} & set(path.parts)
    }
    del contents["lesson_support/__main__.py"]
    for name, target in STAND_INS.items():
        contents[target] = (TEMPLATES / name).read_bytes()
    return write_package(
        tree, "lesson-support", metadata.version("lesson-support"), contents
    )


def write_package(
    tree: Path, name: str, version: str, contents: dict[str, bytes]
) -> Package:
    """Writes a package's files, with the two that every wheel has."""
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents[f"{about}/METADATA"] = head.encode()
    contents[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
    for path, content in contents.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    return Package(name, version, list(contents))


def compile_modules(core: Path, packages: Path, library: Path) -> None:
    """Puts beside each module that a lesson starts with what the browser's Python makes of it."""
    command = [tool("node"), str(TEMPLATES / "compile.mjs")]
    command += [str(core), str(packages), str(library)]
    setup.follow(command, "the packages cannot be compiled")


def zipped(tree: Path, files: list[str]) -> bytes:
    """A zip file, the same bytes for the same contents; a compiled module takes its source's place."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name in sorted(files):
            if (tree / f"{name}c").exists():
                name += "c"
            elif ONLY_IF_USED.search(name):
                continue
            entry = zipfile.ZipInfo(name)
            content = (tree / name).read_bytes()
            made.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return target.getvalue()


def build_python(core: Path, folder: Path, draft: Path) -> list[str]:
    """Writes the browser's Python, its library and packages into a folder; returns their names.

    The list of packages in Pyodide's own lock file points to a content network; the one written
    here names the files beside it alone.
    """
    lock = json.loads((core / "pyodide-lock.json").read_text("utf-8"))
    tree, library = draft / "packages", draft / "library"
    packages = gather(tree)
    with zipfile.ZipFile(core / LIBRARY) as archive:
        archive.extractall(library)
        modules = [
            name
            for name in archive.namelist()
            if not name.endswith("/") and not LIBRARY_LEFT_OUT.search(name)
        ]
    compile_modules(core, tree, library)
    folder.mkdir(parents=True)
    entries = {}
    for package in packages:
        content = zipped(tree, package.files)
        digest = hashlib.sha256(content).hexdigest()
        # The digest in the name keeps an older file in a browser's cache from being taken for it.
        file = f"{package.name.replace('-', '_')}-{package.version}-0{digest[:8]}-py3-none-any.whl"
        (folder / file).write_bytes(content)
        tops = {name.split("/")[0].removesuffix(".py") for name in package.files}
        entries[package.name] = {
            "name": package.name,
            "version": package.version,
            "file_name": file,
            "install_dir": "site",
            "sha256": digest,
            "package_type": "package",
            "imports": sorted(top for top in tops if top.isidentifier()),
            "depends": [],
            "unvendored_tests": False,
        }
    for name in CORE_FILES:
        shutil.copyfile(core / name, folder / name)
    (folder / LIBRARY).write_bytes(zipped(library, modules))
    lock["packages"] = entries
    text = json.dumps(lock, indent=1, sort_keys=True)
    (folder / "pyodide-lock.json").write_text(text, encoding="utf-8")
    return sorted(entries)


def digest_of(folder: Path) -> str:
    """A short name for the contents of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def configuration(python: str, packages: list[str]) -> dict:
    """What JupyterLite is told: https://jupyterlite.readthedocs.io/en/stable/reference/schema-v0.html"""
    kernel = {
        "pyodideUrl": f"./{python}/pyodide.mjs",
        "disablePyPIFallback": True,
        "loadPyodideOptions": {
            "packages": packages,
            "lockFileURL": f"./{python}/pyodide-lock.json",
            "env": {"IPYTHONDIR": STARTUP_THERE, "LESSONS_WORKSPACE": "/tmp/workspace"},
        },
    }
    return {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {
            "appName": "One-to-many with SQLAlchemy 2",
            "enableServiceWorkerCache": "true",
            "litePluginSettings": {f"{KERNEL}:kernel": kernel},
        },
    }


def copy_lessons(folder: Path) -> None:
    """Copies what a learner sees in the file browser: the lessons, their rows and the answers."""
    for pattern in ("notebooks/[0-9]*.ipynb", "data/*", "docs/*.md"):
        for path in PROJECT.glob(pattern):
            target = folder / path.relative_to(PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def build_notebook(draft: Path, output: Path) -> None:
    """Has JupyterLite write its part of the site: the notebook application and the lessons."""
    command = [
        sys.executable,
        "-m",
        "jupyterlite_core",
        "build",
        "--lite-dir",
        str(draft),
    ]
    command += ["--contents", str(draft / "files"), "--output-dir", str(output)]
    command += ["--apps", "lab", "--no-sourcemaps", "--no-unused-shared-packages"]
    command += ["--no-libarchive", "--LiteBuildConfig.ignore_sys_prefix=True"]
    extensions = TOOLS / "share/jupyter/labextensions"
    command += [f"--FederatedExtensionAddon.extra_labextensions_path={extensions}"]
    ended = subprocess.run(
        command,
        cwd=draft,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
        raise CommandError(f"JupyterLite cannot build the site ({''.join(last)})")


def compress(folder: Path) -> None:
    """Writes a .gz beside each file that gets smaller, for servers that look for it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in COMPRESSED and path.stat().st_size >= SMALLEST_COMPRESSED:
            small = gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)
            path.with_name(f"{path.name}.gz").write_bytes(small)


def build(output: Path) -> None:
    """Builds the site into a folder, which is replaced in one step at the end."""
    core = fetch_core()
    with setup.guarded(), tempfile.TemporaryDirectory(dir=ASIDE) as name:
        draft, made = Path(name, "draft"), Path(name, "site")
        setup.say("1/3 Python and its packages, compiled for the browser")
        packages = build_python(core, Path(name, "python"), draft / "work")
        place = f"static/python-{digest_of(Path(name, 'python'))}"
        setup.say("2/3 the notebook application and the lessons")
        copy_lessons(draft / "files")
        shutil.rmtree(draft / "work")
        config = json.dumps(configuration(place, packages), indent=1)
        (draft / "jupyter-lite.json").write_text(config, encoding="utf-8")
        build_notebook(draft, made)
        (made / "static").mkdir(exist_ok=True)
        os.replace(Path(name, "python"), made / place)
        shutil.copyfile(TEMPLATES / "index.html", made / "index.html")
        (made / MARK).write_text("{}\n", encoding="utf-8")
        setup.say("3/3 compressed copies")
        compress(made)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(output, ignore_errors=True)
        shutil.move(made, output)


def main(args: list[str]) -> int:
    """Builds the site and says how to look at it."""
    output = parser().parse_args(args).output.resolve()
    check_output(output)
    tool("npm")
    tool("node")
    setup.install_aside(
        REQUIREMENTS, TOOLS, "--python-version=3.14", "--only-binary=:all:"
    )
    with children.tidy_end():
        build(output)
    size = sum(p.stat().st_size for p in output.rglob("*") if p.suffix != ".gz")
    print(f"The site is in {output}: {size / 1e6:.0f} MB.")
    print(f"To look at it: {sys.executable} -m http.server --directory {output}")
    return 0
