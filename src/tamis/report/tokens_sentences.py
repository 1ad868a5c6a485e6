"""What the report of token cleaning says in words. Every sentence follows from the numbers it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.rendering import ABSENT, count, decimal, listed, plural, share, share_with_interval, with_interval
from tamis.report.tokens_charts import NEAR
from tamis.report.tokens_strips import nats, plain

Found = Mapping[str, Any]

RANKINGS = {
    "excess": "loss of the base minus loss of the reference",
    "reverse": "loss of the reference minus loss of the base",
    "base-high": "loss of the base",
    "base-low": "minus the loss of the base",
    "random": "a random number",
}
SCOPES = {
    "global": "over the whole pool at once, so that an answer can keep all of its tokens or none",
    "sample": "within every answer, so that each keeps the same share of its own tokens, rounded down",
    "batch": "within every batch of records",
}
MAX_IDS = 10
"""Records without a kept token that are named."""
_PLAIN = "plain turns headed <|user|> and <|assistant|>, since the tokenizer has no chat template"
_RENDERED = "the chat template of the tokenizer, rendered turn by turn to find the tokens of answers"
_MARKED = "the chat template of the tokenizer, which marks the tokens of answers itself"
_UNITS = {"excess": ", nats", "reverse": ", nats", "base-high": ", nats", "base-low": ", nats", "random": ""}


def reading_sentence(found: Found) -> str:
    """Say how records became tokens, and in which numbers models compute."""
    template, dtype = found["settings"]["template"], found["settings"]["dtype"]
    form = _MARKED if template == "tokenizer" else _PLAIN if template == "plain" else _RENDERED
    numbers = "the number format of their weights" if dtype == "auto" else plain(dtype)
    return f"Records are read in {form}. Models compute in {numbers}, losses in float32"


def is_control(found: Found) -> bool:
    """Whether tokens were ranked by something else than what the method is about."""
    return bool(found["settings"]["rank_by"] != "excess")


def staged(found: Found) -> bool:
    """Whether the reference was renewed from stage to stage."""
    return bool(found["settings"]["mode"] == "self-evolving")


def ranked_noun(found: Found) -> str:
    """Return what is ranked, in the singular."""
    return "token" if found["settings"]["with_prompt_tokens"] else "response token"


def ranked_verb(found: Found) -> str:
    """Return what was done with the tokens that have their losses: those of a first slice need no rank."""
    return "used" if staged(found) else "ranked"


def reference_words(found: Found) -> str:
    """Name the reference.

    Examples
    --------
    >>> found = {"settings": {"mode": "fixed"}, "models": {"reference": {"name": "warmed up on 64 records"}}}
    >>> reference_words(found)
    'the reference (warmed up on 64 records)'
    """
    if staged(found):
        return "the model of the stage before"
    return f"the reference ({plain(found['models']['reference']['name'])})"


def axis_title(found: Found) -> str:
    """Write the title of an axis of scores."""
    ranking = found["settings"]["rank_by"]
    return f"score: {RANKINGS[ranking]}{_UNITS[ranking]}"


def summary(found: Found) -> str:
    """Return the paragraph on top of the page: what was scored, what is kept, how sharp the cut is."""
    pool, kept, noun = found["pool"], found["kept"], ranked_noun(found)
    base = plain(found["models"]["base"]["name"])
    left = "all of them" if pool["ranked"] == pool["response"] else f"{count(pool['ranked'])} of them"
    parts = [
        f"{plural(pool['records'], 'record')} {'holds' if pool['records'] == 1 else 'hold'} "
        f"{plural(pool['response'], 'response token')}; "
        + (f"{count(pool['ranked'])} tokens of prompts and answers" if noun == "token" else left)
        + f" could be {ranked_verb(found)}.",
        _scored(found, base),
        _kept(found),
    ]
    if kept["near"][0] is not None:
        where = "the cut" if kept["cut"] is None else f"the cut, {nats(kept['cut'])}"
        unit = "" if found["settings"]["rank_by"] == "random" else " nats"
        parts.append(
            f"{share_with_interval(kept['near'], 1)} of the ranked tokens lie within {NEAR:g}{unit} of {where}."
        )
    return " ".join(parts)


def _kept(found: Found) -> str:
    kept, noun = found["kept"], ranked_noun(found)
    verb = "carries" if kept["tokens"] == 1 else "carry"
    if staged(found):
        return (
            f"{plural(kept['tokens'], noun)} ({share(kept['share'])}) {verb} the loss: all of the first slice, and of "
            "every later one those with the highest scores. The rest is masked and stays as context."
        )
    return (
        f"The {plural(kept['tokens'], noun)} with the highest scores ({share(kept['share'])}) {verb} the loss; the "
        "rest is masked and stays as context."
    )


def _scored(found: Found, base: str) -> str:
    ranking = found["settings"]["rank_by"]
    if ranking == "random":
        return "Their score is a random number, which makes this run a control."
    if ranking in ("base-high", "base-low"):
        return f"The score of a token is {RANKINGS[ranking]}, {base}; no reference is asked."
    gap = "how much lower its loss is" if ranking == "excess" else "how much higher its loss is"
    evolving = f", slice by slice over {plural(len(found['stages']), 'slice')}" if staged(found) else ""
    return f"The score of a token is {gap} under {reference_words(found)} than under the base, {base}{evolving}."


def given_reference(found: Found) -> bool:
    """Whether the reference came from outside, so that nothing is known about its training."""
    return found["warmup"] is None and not staged(found)


def warmup_sentence(found: Found) -> str:
    """Say how the reference was made."""
    warmup, base = found["warmup"], plain(found["models"]["base"]["name"])
    if staged(found):
        return (
            f"There is no fixed reference. {base} is trained on all response tokens of the first slice; every later "
            "slice is scored by the base and by the model of the stage before, and trained on with its own mask."
        )
    if given_reference(found):
        return (
            f"The reference, {plain(found['models']['reference']['name'])}, was given. How it was trained is not on "
            "record here, and what it was trained on decides what has a high score."
        )
    where = "They are no part of the pool" if found["settings"]["held_out"] else "They are part of the pool, too"
    return (
        f"The reference is {base}, fine-tuned ({plain(warmup['tune'])}) on {plural(warmup['records'], 'record')} with "
        f"{plural(warmup['tokens'], 'token')} in {plural(warmup['steps'], 'step')}. {where}."
    )


def rule_sentence(found: Found) -> str:
    """Say which tokens are kept."""
    settings, noun = found["settings"], ranked_noun(found)
    where = SCOPES[settings["scope"]]
    if staged(found) and settings["scope"] == "global":
        where = "over all answers of a slice at once, so that an answer can keep all of its tokens or none"
    stage = " The first slice is kept whole, every later one has a cut of its own." if staged(found) else ""
    prompts = (
        "Tokens of prompts are ranked and may be kept, too."
        if settings["with_prompt_tokens"]
        else "Tokens of prompts are never ranked and never kept."
    )
    return (
        f"Kept are the {share(settings['keep'], 0)} of the {noun}s with the highest scores, ranked "
        f"{where}. Of equal scores the earlier token goes first.{stage} {prompts}"
    )


def cut_rows(found: Found) -> list[tuple[str, str, str]]:
    """Return the rows of the table about the cut: what, how much, and what it says."""
    kept = found["kept"]
    slope = None if kept["slope"] is None else [kept["slope"], None, None]
    moved = "" if kept["slope"] is None else f": moving the cut by {NEAR:g} moves about {share(NEAR * kept['slope'])}"
    return [
        ("the cut", nats(kept["cut"]), "score of the last kept token of this pool; a count, not an estimate"
         if kept["cut"] is not None else "there is not one cut for all tokens, but several"),
        ("scores above 0", share_with_interval(kept["positive"], 1), "tokens on which the reference is better"),
        (f"within {NEAR:g} of the cut", share_with_interval(kept["near"], 1), "tokens that little moves across"),
        ("slope at the cut", with_interval(slope), f"share of the ranked tokens per nat{moved}"),
        ("ties at the cut", count(kept["ties"]), "tokens with exactly its score; the earlier ones are kept"),
        ("other side in bf16", share_with_interval(kept["flips_bf16"], 1), "not measured in this run"
         if kept["flips_bf16"] is None else "tokens that bfloat16 would put there, on a sample of records"),
    ]  # fmt: skip


def density_sentence(found: Found) -> str:
    """Say where the scores lie, for the caption and for readers who do not see the figure."""
    density, kept = found["density"], found["kept"]
    outside = [f"{count(n)} {where}" for n, where in ((density["below"], "below"), (density["above"], "above")) if n]
    rest = f" {listed(outside)} are not drawn." if outside else ""
    shown = f"{count(sum(density['counts']))} ranked tokens by score, from {nats(density['edges'][0])} to "
    cut = "" if kept["cut"] is None else f" The cut is {nats(kept['cut'])}."
    return f"{shown}{nats(density['edges'][-1])}.{rest}{cut}"


def shares_label(rows: Sequence[Found], by: str) -> str:
    """Say what a figure of kept shares shows, for readers who do not see it."""
    known = sorted((row for row in rows if row["kept"][0] is not None), key=lambda row: -row["kept"][0])
    if not known:
        return f"Share of tokens kept by {by}: none could be measured."
    ends = [f"{plain(row['name'])} {share_with_interval(row['kept'])}" for row in (known[0], known[-1])]
    return f"Share of tokens kept by {by}, each with its 95 % interval: most {ends[0]}, least {ends[1]}."


def emptied_warnings(found: Found) -> list[str]:
    """Warn of records that the cut leaves without a kept token, without a full stop."""
    rows, ids = found["emptied"]["rows"], [plain(each) for each in found["emptied"]["ids"][:MAX_IDS]]
    if not rows:
        return []
    of = part_of(rows, found["pool"]["records"], "record")
    named = "" if not ids else f": {', '.join(ids)}{f' and {count(rows - len(ids))} more' if len(ids) < rows else ''}"
    return [f"{of} {'has' if rows == 1 else 'have'} no kept token left and would not be trained on{named}"]


def warmup_label(found: Found) -> str:
    """Say what the warm-up curve shows, for readers who do not see it."""
    warmup = found["warmup"]
    known = [value for _, value in warmup["loss"] if value is not None]
    ends = f"from {decimal(known[0])} to {decimal(known[-1])} nats a token" if known else "not recorded"
    if len(known) == 1:
        ends = f"{decimal(known[0])} nats a token"
    before, after = (decimal(value) for value in held_out(warmup))
    held = "" if before == after == ABSENT else f"; held out {before} before, {after} after"
    return f"Loss of the warm-up over {plural(warmup['steps'], 'step')}: {ends}{held}."


def held_out(warmup: Found) -> tuple[float | None, float | None]:
    """Return the loss of held-out records before and after the warm-up; None where no record was held out for it."""
    return warmup.get("held_out_before"), warmup.get("held_out_after")


def part_of(part: int, whole: int, noun: str) -> str:
    """Write a part of a whole with its share, which is a count and has no interval.

    Examples
    --------
    >>> part_of(4, 236, "record"), part_of(0, 0, "record")
    ('4 of 236 records (1.7 %)', '0 of 0 records (–)')
    """
    return f"{count(part)} of {plural(whole, noun)} ({share(part / whole) if whole else ABSENT})"
