from __future__ import annotations

from pathlib import Path
from typing import cast

from markupsafe import Markup

from tamis.registry import METHODS
from tamis.report import Section
from tamis.report.page import assemble
from tamis.report.rendering import render
from tamis.runs import Run


def test_page_escapes_titles_and_text_that_no_template_made(usable_run: Path) -> None:
    sections = [
        Section("<u>lead</u>", "", Markup("<p>lead</p>"), nav=""),
        Section("<u>one</u>", "a < b?", cast("Markup", "<script>"), nav="One & only"),
    ]
    page = assemble(Run.open(usable_run), METHODS["ds2"], sections)
    assert "<u>" not in page
    assert "<script>" not in page
    assert "a &lt; b?" in page
    assert "<p>lead</p>" in page
    assert '<a href="#one-&amp;-only">One &amp; only</a>' in page


def test_page_without_a_lead_is_named_after_the_run(usable_run: Path) -> None:
    page = assemble(Run.open(usable_run), METHODS["ds2"], [Section("A", "?", Markup("<p>x</p>"), nav="A")])
    assert f"<h1>{usable_run.name}</h1>" in page


def test_rendered_parts_are_markup_and_their_values_are_escaped() -> None:
    html = render("ds2/lead.html.j2", summary="<b>", figures=[("<1", "n", "a")], doubted=[])
    assert isinstance(html, Markup)
    assert "<b>" not in html
    assert "&lt;1" in html
