"""The report of forgetting."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from tamis.report.findings import read_findings
from tamis.report.section import Section
from tamis.runs import Run


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of a forget run, the lead first."""
    found = read_findings(Run.open(run_folder), "decide")
    return [Section("Forgetting", "", Markup("<p>{}</p>").format(found["method"]["name"]), nav="")]
