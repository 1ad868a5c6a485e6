"""What the report of a prune run says in words. Every sentence follows from the numbers it is given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.prune.card import REASONING
from tamis.prune.criteria_list import CRITERIA, FROM_FILE, GIVEN
from tamis.prune.evidence import PERPLEXITY
from tamis.prune.layer_ranges import write_ranges
from tamis.prune.summary import RUINED
from tamis.report.prune_numbers import (
    last_model,
    layers_text,
    loss_of_quality,
    perplexity,
    perplexity_with_interval,
    row_of,
    short,
    times,
    times_with_interval,
)
from tamis.report.rendering import count, decimal, plural, share
from tamis.report.tokens_strips import plain

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

HIDDEN = "What perplexity does not show"
_NEXT = ("taylor", "ppl", "sleb", "magnitude", "bi", "angular", "reverse")
"""Criteria to try, in this order, if they were not measured."""


def criterion_words(criterion: str) -> str:
    """Say what a criterion measures, as a clause.

    Examples
    --------
    >>> criterion_words("reverse"), criterion_words("reverse, file"), criterion_words("mine, file")
    ('the last layers go', 'the last layers go; from a file', 'from a file')
    """
    if criterion == GIVEN:
        return "the layers that the recipe names"
    name, comma, _ = criterion.partition(f", {FROM_FILE}")
    known = CRITERIA[name].summary if name in CRITERIA else ""
    return "; ".join(part for part in (known, "from a file" if comma else "") if part) or "not known here"


def summary(found: Found, evidence: Rows) -> str:
    """Return the paragraph on top of the page: what goes, by whose word, and what that costs."""
    n, k, name = found["model"]["layers"], len(found["dropped"]), plain(found["model"]["name"])
    layers = f"{layers_text(found['dropped'])} (the first is 0)"
    last = last_model(found)
    if last is None:
        reason = (
            f"but {plural(len(found['undecided']), 'layer')} could not be measured, so no model was cut"
            if found["undecided"]
            else "and the run was asked for scores only, so no model was cut"
        )
        return f"{k} of the {n} layers of {name} would go{_chosen_by(found)}: {layers}; {reason}."
    parts = [
        f"{name} lost {k} of its {n} layers{_chosen_by(found)}: {layers}.",
        size_sentence(found),
        cost_sentence(evidence, last),
    ]
    return " ".join(part for part in parts if part)


def _chosen_by(found: Found) -> str:
    criterion = plain(found["criterion"])
    if found["criterion"] == GIVEN:
        return ", those that the recipe names"
    if found["auto"] and found["candidates"]:
        return f", chosen by {criterion}, the best of {len(found['candidates'])} criteria on held-out text"
    return f", chosen by {criterion}"


def size_sentence(found: Found) -> str:
    """Compare the share of layers that went with the share of parameters that went."""
    sizes, last = found["sizes"], last_model(found)
    if last is None:
        return ""
    dense, cut, final = sizes["dense"], sizes["cut"], sizes[last]
    layers, weights = (1 - cut[key] / dense[key] for key in ("layers", "parameters"))
    only, stay = ("only ", ", since embeddings and output layer stay") if weights < layers else ("", "")
    added = final["parameters"] - cut["parameters"]
    untied = f" The copy of the output layer adds {short(added)} parameters again." if added > 0 else ""
    return f"{share(layers)} of the layers are {only}{share(weights)} of the parameters{stay}.{untied}"


def cost_sentence(evidence: Rows, last: str) -> str:
    """Say what happened to the perplexity of held-out text."""
    cut, healed = (row_of(evidence, PERPLEXITY, group) for group in ("cut", "healed"))
    first = cut or healed
    if first is None:
        return "No held-out text was given, so what that costs is not known."
    grew = loss_of_quality(evidence, last)
    by = "" if grew is None else f", {times_with_interval(grew)} that of the uncut model"
    before = f"Perplexity of held-out text went from {perplexity(first['before'])} to {perplexity(first['after'])}"
    if healed is None or cut is None:
        return f"{before}{by}; nothing was healed."
    return f"{before} by the cut and to {perplexity(healed['after'])} by the healing{by}."


def doubts(found: Found, evidence: Rows) -> list[tuple[str, str, str, str]]:
    """Say what speaks against the model as a whole: level, heading and up to two reasons of each doubt."""
    said = [*_ruin(found, evidence)]
    if found["undecided"]:
        layers = layers_text(found["undecided"])
        said.append(
            ("stop", "Undecided layers, so no model was cut",
             f"{plural(len(found['undecided']), 'layer')} ({layers}) gave no finite score. A layer that was not "
             "measured is neither kept nor dropped.",
             "Score in float32 (--dtype float32), or look at the weights of these layers.")
        )  # fmt: skip
    if found["tied"]:
        tied = plain(found["tied"])
        said.append(("caution", "The output layer was tied to the embeddings", f"{tied[:1].upper()}{tied[1:]}.", ""))
    if last_model(found) is not None and row_of(evidence, PERPLEXITY, "cut") is None:
        said.append(
            ("caution", "Not measured",
             "No held-out text was given. A model without some of its layers may be fine or may be rubble, and nothing "
             "on this page tells which; add --data FILE or --held-out FILE.", "")
        )  # fmt: skip
    said.append(("caution", HIDDEN, REASONING, ""))
    return said


def _ruin(found: Found, evidence: Rows) -> list[tuple[str, str, str, str]]:
    last = last_model(found)
    before, after = loss_of_quality(evidence, "cut"), loss_of_quality(evidence, last)
    if after is not None and after[0] >= RUINED:
        row = row_of(evidence, PERPLEXITY, last or "") or {"before": None, "after": None}
        where = "the healing did not bring it back" if last == "healed" else "nothing was healed"
        return [
            ("stop", "This cut ruins the model",
             f"Perplexity of held-out text is {perplexity(row['after'])}, {times_with_interval(after)} that of the "
             f"uncut model, {perplexity(row['before'])}; {where}.",
             "Do not use it. Drop fewer layers or try another criterion.")
        ]  # fmt: skip
    if last == "healed" and before is not None and after is not None and before[0] >= RUINED:
        return [
            ("caution", "The cut alone ruins the model",
             f"Before healing its perplexity was {times_with_interval(before)} that of the uncut model, after it "
             f"{times_with_interval(after)}. What works in it is mostly what the healing taught, and that is as narrow "
             "as the records it learned from.",
             "")
        ]  # fmt: skip
    chosen = _unhealed(found)
    if last is None and chosen is not None and found["dense"] and chosen[0] >= RUINED * found["dense"][0]:
        return [
            ("stop", "This cut would ruin the model",
             f"Without these layers and before healing, perplexity is {perplexity_with_interval(chosen)}, "
             f"{times(chosen[0] / found['dense'][0])} that of the uncut model.",
             "Drop fewer layers or try another criterion.")
        ]  # fmt: skip
    return []


def _unhealed(found: Found) -> list[float] | None:
    """Perplexity of the cut before healing, on the records to choose with."""
    k = len(found["dropped"])
    at = next((each["perplexity"] for each in found["curve"] if each["dropped"] == k), None)
    return at or next(
        (each["perplexity"] for each in found["candidates"] if each["criterion"] == found["criterion"]), None
    )


def choice_sentences(found: Found) -> list[str]:
    """Say how the candidates were compared, and what that does not show."""
    candidates = found["candidates"]
    best = next((each for each in candidates if each["criterion"] == found["criterion"]), None)
    others = [each for each in candidates if each is not best]
    if best is None or not others:
        return []
    second = min(others, key=lambda each: each["perplexity"][0])
    said = [
        f"{plain(best['criterion'])} won: its cut has the lowest perplexity before any healing. The records that it "
        "was chosen by flatter it a little, so its value here is optimistic; the evidence below is from other records."
    ]
    if best["perplexity"][2] >= second["perplexity"][1]:
        said.append(
            f"Its interval and that of {plain(second['criterion'])} overlap; with other records the choice might "
            "have been another one."
        )
    reverse = next((each for each in candidates if each["criterion"] == "reverse"), None)
    if reverse is not None and reverse is not best:
        worse = reverse["perplexity"][0] / best["perplexity"][0]
        said.append(
            f"Dropping the last layers, as the paper recommends, gives {times(worse)} the perplexity here: that order "
            "is not the best one for every model."
        )
    return said


def healing_sentence(found: Found) -> str:
    """Say how the cut model was repaired."""
    healing = found["healing"]
    if healing is None:
        return "Nothing was healed: every weight that is left is as it was in the parent."
    training = healing["training"]
    losses = [] if training is None else training.get("losses") or []
    fell = (
        f" The loss of a step went from {decimal(losses[0])} to {decimal(losses[-1])} nats a token." if losses else ""
    )
    what = plain(healing["what"])
    return f"{what[:1].upper()}{what[1:]}.{fell}"


def panels_label(found: Found) -> str:
    """Say what the figure of scores shows, for readers who do not see it."""
    names = [plain(name) for name in found["scores"]]
    return (
        f"Scores of {found['model']['layers']} layers by {', '.join(names)}, the lowest go first. By "
        f"{plain(found['criterion'])}, layers {layers_text(found['dropped'])} go."
    )


def curve_label(found: Found) -> str:
    """Say what the curve shows."""
    points = [f"{count(each['dropped'])}: {perplexity(each['perplexity'][0])}" for each in found["curve"]]
    return f"Perplexity before healing by number of layers dropped: {', '.join(points)}."


def curve_sentence(found: Found) -> str:
    """Name the ends of the curve and the choice."""
    k, curve = len(found["dropped"]), found["curve"]
    told = [each for each in curve if each["dropped"] in (0, k, curve[-1]["dropped"])]
    return "; ".join(f"{each['dropped']} dropped: {perplexity(each['perplexity'][0])}" for each in told)


def files(found: Found) -> list[tuple[str, str]]:
    """List the files of the run that a user goes on with."""
    listed = [("scores.csv", "score and rank of every layer by the criterion that decided, and whether it stays"),
              ("selection.parquet", "decision and reason of every layer")]  # fmt: skip
    if last_model(found) is None:
        return listed
    healed = " The healing is not in it." if last_model(found) == "healed" else ""
    return [
        (
            "model/",
            "an ordinary checkpoint: safetensors, configuration, tokenizer and a model card; load it as any other",
        ),
        ("mergekit.yaml", f"the same cut as a recipe for mergekit.{healed}"),
        *listed,
    ]


def commands(found: Found, params: Mapping[str, Any], inputs: Mapping[str, str], scores: str) -> list[tuple[str, str]]:
    """Return what can be done next: words, and a command."""
    start = ["tamis", "prune", str(params["model"])]
    data = ["--data", inputs.get("data", "RECORDS.jsonl")]
    ranges, k = write_ranges(found["dropped"]), len(found["dropped"])
    how = "last3" if found["healing"] is None else str(found["healing"]["how"])
    settings = {} if found["healing"] is None else found["healing"]["settings"]
    longer = ["--steps", f"{2 * settings['steps']}"] if settings.get("steps") else \
        ["--epochs", f"{2 * float(settings.get('epochs') or 1):g}"]  # fmt: skip
    untried = [each for each in _NEXT if each not in found["scores"]]
    said = []
    if found["undecided"]:
        said.append(("Score again in float32", [*start, *data, "--dtype", "float32"]))
    else:
        words = "Heal the same cut" if found["healing"] is None else "Heal the same cut for twice as long"
        said.append((words, [*start, *data, "--drop", ranges, "--heal", how, *longer]))
    if untried:
        words = f"Try another criterion, {untried[0]} ({criterion_words(untried[0])})"
        said.append((words, [*start, *data, "--criterion", untried[0], "--drop-layers", str(k)]))
    if found["criterion"] != GIVEN and k > 1 and not found["undecided"]:
        # the scores of angular hold for one number of layers only
        again = ["--criterion", "angular"] if found["criterion"] == "angular" else ["--scores", scores]
        said.append(("Drop fewer layers", [*start, *data, *again, "--drop-layers", str(k // 2)]))
    return [(words, shlex.join(plain(part) for part in command)) for words, command in said]
