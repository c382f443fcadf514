"""Drives JupyterLab in Chromium: the one of the `lab` command, and the one inside the site."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 40_000
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
HERE = ("127.0.0.1", "localhost")
# Chromium itself asks nobody, and nothing but this machine has an address.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


class Files(SimpleHTTPRequestHandler):
    """A plain file server that prints nothing."""

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder: Path, handler: type = Files) -> Iterator[str]:
    """The address, with a slash at its end, of a plain file server for a folder."""
    made = functools.partial(handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def watched(context) -> list[str]:
    """What goes wrong in all pages of a browser's context: requests elsewhere, errors of scripts."""
    wrong: list[str] = []

    def asked(request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in HERE:
            wrong.append(f"asked elsewhere: {request.url}")

    def failed(error):
        # JupyterLab itself goes on drawing a notebook that is being closed
        if not re.search(
            "estimateWidgetSize|_idleCallBack|_runOnIdleTime", error.error.stack
        ):
            wrong.append(f"script: {error.error.stack}")

    context.on("request", asked)
    context.on("weberror", failed)
    return wrong


# The notebook that is open, its kernel answering. What never comes ends by the page's time-out.
_READY = """async () => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.context.ready; await panel.revealed; await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    return true;
}"""
# JupyterLab's own promise for a run ends at the first error, also at one that a cell is tagged for.
# A kernel takes its requests in their order, so one that is sent last is answered last.
_AT_REST = """async () => {
    const {kernel} = jupyterapp.shell.currentWidget.sessionContext.session;
    await kernel.requestExecute({code: '', silent: true}).done;
    return true;
}"""
# How much of the notebook is out of sight. Cells far away are drawn too, as Ctrl-F needs them.
_HIDDEN = """async () => {
    const {content, node} = jupyterapp.shell.currentWidget;
    if (content.notebookConfig.windowingMode !== 'none')
        content.notebookConfig = {...content.notebookConfig, windowingMode: 'none'};
    const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    await drawn(); await drawn();
    const outer = node.querySelector('.jp-WindowedPanel-outer');
    outer.scrollTop = 0;
    const {bottom} = [...node.querySelectorAll('.jp-Notebook-cell')].at(-1).getBoundingClientRect();
    return Math.ceil(bottom - outer.getBoundingClientRect().bottom);
}"""
# JupyterLab's body has no height, which axe-core takes for a sign that nothing in it can be seen.
# Not of the lessons' making: empty heads in tables of pandas, and the colours that JupyterLab gives to
# links and code in a text and to tracebacks. What is too wide is scrolled by keys where the browser
# lets it have the focus.
_AXE = """async () => {
    document.documentElement.style.overflow = document.body.style.overflow = 'visible';
    const {violations, passes} = await axe.run({
        include: [['.jp-OutputArea-output'], ['.jp-RenderedMarkdown']],
    });
    if (!passes.some(({id}) => id === 'color-contrast')) return ['axe-core saw no text'];
    const excused = (id, node) =>
        (id === 'empty-table-header' && node.closest('table.dataframe')) ||
        (id === 'color-contrast' && node.closest('[class^=ansi-], .jp-RenderedMarkdown pre')) ||
        id === 'link-in-text-block' ||
        (id === 'scrollable-region-focusable' && (node.focus(), document.activeElement === node));
    return violations.flatMap(({id, nodes}) => nodes
        .filter(({target}) => !excused(id, document.querySelector(target.at(-1))))
        .map(({html, any}) => `${id}: ${html.slice(0, 160)} ${any[0]?.message ?? ''}`));
}"""


class Notebook:
    """A notebook that is open in JupyterLab, in front of all others."""

    def __init__(self, page) -> None:
        self.page = page

    def wait_for(self, name: str) -> Notebook:
        """Wait until the notebook of that file name is open and its kernel answers."""
        self.page.wait_for_function(
            "(name) => window.jupyterapp?.shell?.currentWidget?.context?.path.endsWith(name)",
            arg=name,
        )
        self.page.wait_for_function(_READY)
        return self

    def open(self, path: str) -> Notebook:
        """Open a file by JupyterLab's own command."""
        self.page.wait_for_function("() => window.jupyterapp?.shell")
        self.page.evaluate(
            "async (path) => { await jupyterapp.commands.execute('docmanager:open', {path}); }",
            path,
        )
        return self.wait_for(path)

    def start(self, command: str) -> None:
        """Start a command of JupyterLab; `at_rest` waits for its end."""
        self.page.evaluate(
            """(name) => {
                window.settled = false;
                const done = () => { window.settled = true; };
                jupyterapp.commands.execute(name).then(done, done);
            }""",
            command,
        )

    def at_rest(self) -> Notebook:
        """Wait until the command has ended, and the kernel has done all that it led to."""
        self.page.wait_for_function("() => window.settled ?? true")
        self.page.wait_for_function(_AT_REST)
        return self

    def run_all(self) -> Notebook:
        """Run all cells, to their end."""
        self.start("notebook:run-all-cells")
        return self.at_rest()

    def restart_and_run_all(self) -> Notebook:
        """What the menu's Restart Kernel and Run All Cells does, its question answered."""
        self.start("notebook:restart-run-all")
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        return self.at_rest()

    def cells(self) -> list[dict]:
        """All cells as they would be saved."""
        return self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.model.sharedModel.toJSON().cells"
        )

    def cell(self, id: str) -> dict:
        """The cell of that id as it would be saved."""
        return next(cell for cell in self.cells() if cell["id"] == id)

    def set_source(self, cell: str, source: str) -> None:
        """Write into the cell of that id."""
        self.page.evaluate(
            """([id, source]) => [...jupyterapp.shell.currentWidget.model.cells]
                .find((cell) => cell.id === id).sharedModel.setSource(source)""",
            [cell, source],
        )

    def save(self) -> None:
        """Save, and wait until it is done."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.context.save()")

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme to Light or Dark."""
        theme = f"JupyterLab {name}"
        self.page.evaluate(
            "(theme) => jupyterapp.commands.execute('apputils:change-theme', {theme})",
            theme,
        )
        self.page.wait_for_function(
            "(theme) => document.body.dataset.jpThemeName === theme", arg=theme
        )

    def lay_out(self, width: int) -> None:
        """Make the window that wide, and so high that all cells are in it at once."""
        self.page.set_viewport_size({"width": width, "height": 900})
        for _ in range(5):  # a higher window may move a scroll bar, and so a line break
            hidden = self.page.evaluate(_HIDDEN)
            if hidden <= 0:
                return
            height = self.page.viewport_size["height"] + hidden
            self.page.set_viewport_size({"width": width, "height": height})
        raise AssertionError("the notebook does not fit into any window")

    def on_page(self, cell: str):
        """The cell of that id as it stands on the page."""
        cells = [each["id"] for each in self.cells()]
        return self.page.locator(f"{PANEL} .jp-Notebook-cell").nth(cells.index(cell))

    def outputs(self, cell: str):
        """The outputs of that cell as they stand on the page."""
        return self.on_page(cell).locator(".jp-Cell-outputWrapper")

    def violations(self, axe: str, width: int) -> list[str]:
        """What axe-core finds in the displays and in the text cells, all of it unfolded."""
        self.page.evaluate(
            "() => document.querySelectorAll('.jp-Notebook details').forEach("
            "(each) => { each.open = true; })"
        )
        self.lay_out(width)
        self.page.evaluate(axe)
        return self.page.evaluate(_AXE)

    def select(self, cell: str) -> None:
        """Make the cell of that id the active one, and give the notebook the focus."""
        self.page.evaluate(
            """(id) => {
                const {content} = jupyterapp.shell.currentWidget;
                content.activeCellIndex = content.widgets.findIndex(({model}) => model.id === id);
                content.mode = 'command';
                content.activate();
            }""",
            cell,
        )

    def edit(self, cell: str) -> None:
        """Click into the cell of that id."""
        self.on_page(cell).locator(".cm-content").click()

    def discard(self) -> None:
        """Stop the kernel and close the notebook, without what was changed."""
        self.page.evaluate("""async () => {
            const panel = jupyterapp.shell.currentWidget;
            await panel.sessionContext.shutdown();
            await panel.context.revert();
            await jupyterapp.commands.execute('application:close');
        }""")

    def close_all(self) -> None:
        """Stop all kernels and forget what was not saved."""
        self.page.evaluate("""async () => {
            await jupyterapp.serviceManager.sessions.shutdownAll();
            for (const widget of jupyterapp.shell.widgets('main'))
                if (widget.context?.model) widget.context.model.dirty = false;
        }""")


def complaints(cells: list[dict]) -> list[str]:
    """Code cells that did not run, errors that no cell wants, and all that is on stderr."""
    found = []
    for cell in cells:
        if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
            continue
        if not cell["execution_count"]:
            found.append(f"{cell['id']} did not run")
        wanted = "raises-exception" in cell["metadata"].get("tags", [])
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                found.append(f"{cell['id']}: {output['text']}")
            if output["output_type"] == "error" and not wanted:
                found.append(f"{cell['id']}: {output['ename']}: {output['evalue']}")
    return found


def words(outputs: list[dict]) -> list[str]:
    """The plain form of outputs; of an error, its lines."""
    return [
        "".join(
            output.get("text")
            or output.get("data", {}).get("text/plain")
            or "\n".join([*output.get("traceback", []), ""])
        )
        for output in outputs
    ]
