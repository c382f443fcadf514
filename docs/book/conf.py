"""Sphinx's settings for the book. The command `book` gathers the pages and calls Sphinx with them."""

import re

project = "One-to-many with SQLAlchemy 2"
extensions = ["myst_nb"]
exclude_patterns = ["README.md"]  # the first page includes the part it needs

nb_execution_mode = "off"
nb_render_error_lexer = "text"  # the sentences of an error are no traceback
# A link to a section is written for JupyterLab; with the same anchors it holds here too.
myst_heading_anchors = 3
myst_heading_slug_func = "lesson_support.commands.book.anchor"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_copy_source = False  # the notebooks lie beside their pages
html_use_index = False  # docs/find-an-answer.md is the index
html_show_copyright = False
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["search-button-field.html", "sbt-sidebar-nav.html"]}
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "search_bar_text": "Search, or paste an error message",
    "extra_footer": "<p>Text and data: CC BY 4.0. Code: MIT.</p>",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

EMPTY_HEADER = re.compile(r"<th\b[^>]*>(?:<p></p>)?</th>")


def setup(app):
    """Makes the corners of tables plain cells: a header without words is read out as one."""

    def without_empty_headers(app, pagename, templatename, context, doctree):
        if "body" in context:
            context["body"] = EMPTY_HEADER.sub("<td></td>", context["body"])

    app.connect("html-page-context", without_empty_headers)
