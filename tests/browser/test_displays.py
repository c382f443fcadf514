"""Every kind of display in JupyterLab: for all eyes, in both themes, at every width, by keyboard."""

from __future__ import annotations

import json

import displays
import pytest
from driver import complaints

NAME = "displays.ipynb"


@pytest.fixture
def drawn(lab, notebook):
    """The notebook with all displays, run: a function of the options of `tab`."""
    path = lab.folder / "notebooks" / NAME
    path.write_text(json.dumps(displays.notebook()), encoding="utf-8")

    def made(**options):
        opened = notebook(NAME, **options).run_all()
        assert complaints(opened.cells()) == []
        return opened

    return made


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_no_violation(drawn, axe, shot, theme):
    opened = drawn()
    opened.theme(theme)
    opened.lay_out(1100)
    for name in ["ready-to-go", *displays.CELLS]:
        shot(opened.outputs(name), f"display-{name}-{theme}".lower())
    assert opened.violations(axe, 1100) == []


# What is cut off at the right edge of its output, but for tables: those are scrolled.
CUT_OFF = """() => [...document.querySelectorAll('.jp-OutputArea-output')].flatMap((output) => {
    const edge = output.getBoundingClientRect().right + 1;
    return [...output.querySelectorAll('*')]
        .filter((node) => !node.closest('table') && !node.querySelector('table'))
        .filter((node) => node.getBoundingClientRect().right > edge)
        .map((node) => node.outerHTML.slice(0, 160));
})"""


@pytest.mark.parametrize("width", [390, 640])  # a phone, and 1280 at 200 %
def test_only_tables_are_wider_than_a_narrow_window(drawn, axe, shot, width):
    opened = drawn(width=width)
    opened.start("application:toggle-left-area")
    assert opened.violations(axe, width) == []
    shot(opened.page, f"displays-{width}")
    assert opened.page.evaluate(CUT_OFF) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_stored_can_be_read_before_anything_runs(notebook, axe):
    opened = notebook("05-delete-a-parent.ipynb")
    told = [o for cell in opened.cells() for o in cell.get("outputs", [])]
    assert len(told) > 20
    assert opened.violations(axe, 1100) == []
