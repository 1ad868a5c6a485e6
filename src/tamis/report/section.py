"""``Section``: one part of the report, as the methods hand it to the page."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """One part of the page, in the order in which a reader asks.

    Attributes
    ----------
    title : str
        Heading. Plain text; the page escapes it.
    question : str
        The reader's question that the section answers, printed below the heading.
    html : markupsafe.Markup
        Body. Headings inside begin at ``<h3>``. A plain ``str`` is shown as text: only what a template with
        autoescape has rendered counts as HTML.
    nav : str
        Short name in the navigation. Empty for the lead, which stands above all other sections and whose title
        is the title of the page.

    Examples
    --------
    >>> Section("What came in", "How many?", Markup("<p>3 rows</p>"), nav="Came in").anchor
    'came-in'
    """

    title: str
    question: str
    html: Markup
    nav: str

    @property
    def anchor(self) -> str:
        """Name of the section in links."""
        return "-".join(self.nav.lower().split())
