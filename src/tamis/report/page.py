"""The page: head, lead, navigation and sections in the order of a reader's questions. It knows no method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tamis.errors import RunStateError
from tamis.registry import JOBS, JobEntry, lookup
from tamis.report.provenance import again, cost, moment
from tamis.report.rendering import render
from tamis.report.section import Section
from tamis.runs import Run, atomic_write_text

FINISHED = ("complete", "incomplete")


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` of a finished run, from the files of the run directory alone.

    The page is one file: no network, no script, light and dark, fit for print. It can be written again at any time;
    the same run gives the same bytes.

    Parameters
    ----------
    folder : str or Path
        Run directory.

    Returns
    -------
    Path
        ``<folder>/report.html``.

    Raises
    ------
    RunStateError
        If the folder is no run directory, or the run is not finished.

    Examples
    --------
    >>> write_report("no/such/run")
    Traceback (most recent call last):
    tamis.errors.RunStateError: no/such/run is not a run directory: it has no manifest.json.
    """
    run = Run.open(folder)
    if run.status not in FINISHED:
        raise RunStateError(
            f"The run {run.folder} cannot be reported because it is not finished (status {run.status!r}); "
            f"`tamis resume {run.folder}` goes on where it stopped."
        )
    entry = lookup("method", run.recipe.method, JOBS)
    sections = [*entry.load_section()(run.folder), cost(run), again(run)]
    target = run.folder / "report.html"
    atomic_write_text(target, assemble(run, entry, sections))
    return target


def assemble(run: Run, entry: JobEntry, sections: Sequence[Section]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    run : Run
        The run it is about.
    entry : JobEntry
        Its method.
    sections : sequence of Section
        Those without a ``nav`` are the lead and stand on top.
    """
    lead = [s for s in sections if not s.nav]
    return render(
        "page.html.j2",
        lead=lead,
        sections=[s for s in sections if s.nav],
        title=lead[0].title if lead else run.folder.absolute().name,
        run=run.folder.absolute().name,
        method=run.recipe.method,
        entry=entry,
        status=run.status,
        finished=moment(run.manifest["finished"]),
        version=run.manifest["packages"].get("tamis"),
    )
