from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tamis.errors import RunStateError
from tamis.evidence.evidence import Evidence
from tamis.recipe import Recipe
from tamis.registry import JobEntry
from tamis.report.page import assemble
from tamis.report.provenance import again, cost
from tamis.report.tokens import OPEN_STRIPS, section
from tamis.runs import Run

NASTY = "<script>alert('x')</script>"
HEADINGS = ["what-came-in", "tokens", "what-was-done", "did-it-help", "limits"]
COLOURS = {"none"} | {f"var(--{name})" for name in ("ink", "muted", "rule", "accent", "quiet", "heat", "page")}
ENTRY = JobEntry(
    target="tamis.curate:TokenCleaner", summary="Say which response tokens carry the loss.", job="", verb="tokens",
    paper="arXiv 2502.01968", docs="docs/tokens.md", section="tamis.report.tokens:section", outcome="", plan="",
    plan_text="",
)  # fmt: skip
Found = dict[str, Any]
Write = Callable[..., Path]
Shown = Callable[[str], str]


def shares(*names: str) -> list[Found]:
    return [
        {"name": name, "tokens": 1000 * (i + 1), "kept": [0.3 + 0.1 * i, 0.25 + 0.1 * i, 0.35 + 0.1 * i]}
        for i, name in enumerate(names)
    ]


def strip(unit_id: str = "r1", **changes: Any) -> Found:
    given: Found = {
        "unit_id": unit_id, "prompt": "Who\nplayed  Billy?", "tokens": ["Paul", " New", "man", ".\n", "<|end|>"],
        "score": [0.5, 0.02, -0.0006, None, -0.75], "keep": [True, True, True, False, False],
        "base": [3.0, 1.0, 0.1, None, 1.25], "reference": [2.5, 0.98, 0.1006, None, 2.0], "cut_short": False,
    }  # fmt: skip
    return {**given, **changes}


def findings(**changes: Any) -> Found:
    """Findings of a run with one reference; ``changes`` replaces parts, or entries of parts that are mappings."""
    edges = np.linspace(-1.5, 1.5, 61)
    counts = (900 * np.exp(-4 * np.abs(edges[:-1] + 0.025))).astype(int)
    given: Found = {
        "settings": {"mode": "fixed", "scope": "global", "rank_by": "excess", "keep": 0.6, "with_prompt_tokens": False,
                     "max_length": 2048, "dtype": "auto", "template": "tokenizer", "held_out": True, "seed": 0},
        "models": {"base": {"name": "smollm2", "fingerprint": "ab12", "parameters": 134515008},
                   "reference": {"name": "warmed up on 64 records", "fingerprint": "cd34"}},
        "warmup": {"records": 64, "tokens": 9000, "steps": 4, "tune": "lora",
                   "loss": [[1, 2.1], [2, 2.05], [3, 1.93], [4, 1.96]], "held_out_before": 2.1, "held_out_after": 1.9},
        "stages": [],
        "pool": {"records": 236, "rejected": 0, "tokens": 50000, "response": 30000, "ranked": 29900,
                 "unmeasured_tokens": 100, "truncated": 3, "no_response": 1, "undecided": 2},
        "kept": {"tokens": 17940, "share": 0.6, "cut": -0.0006, "positive": [0.594, 0.58, 0.607],
                 "near": [0.062, 0.057, 0.068], "slope": 3.1, "ties": 0, "flips_bf16": [0.012, 0.01, 0.015]},
        "density": {"edges": edges.tolist(), "counts": counts.tolist(), "below": 12, "above": 34},
        "shares": {"source": shares("open_qa", "summarization"), "role": shares("assistant"),
                   "class": shares("word", "number", "punctuation", "whitespace", "end of answer"),
                   "position": shares(*(f"{10 * i}–{10 * i + 10} %" for i in range(6)))},
        "emptied": {"rows": 4, "ids": ["r7", "r9"]},
        "ngrams": {"most": [{"text": " of the\n", "n": 12, "score": [0.4, 0.31, 0.52], "kept": 0.9}],
                   "least": [{"text": " Once upon", "n": 7, "score": [-0.4, None, None], "kept": 0.0}]},
        "strips": [strip(f"r{i}") for i in range(7)],
        "warnings": ["3 records are longer than 2,048 tokens"],
        "limits": {"same_models": False},
    }  # fmt: skip
    for name, value in changes.items():
        given[name] = {**given[name], **value} if isinstance(value, dict) and given[name] else value
    return given


EVIDENCE = [
    {"metric": "held-out loss a token", "split": "held out", "before": 2.1, "after": 1.9, "low": 1.8, "high": 2.0,
     "n": 30, "better": "lower"},
    {"metric": "kept response tokens", "split": "pool", "before": 30000.0, "after": 17940.0, "low": 17940.0,
     "high": 17940.0, "n": 30000, "better": "neither"},
    {"metric": "share of records with a kept token", "split": "pool", "before": 1.0, "after": 0.983, "low": 0.97,
     "high": 0.99, "n": 236, "better": "neither"},
    {"metric": "loss of kept tokens", "split": "pool", "group": None, "n": 0, "better": "neither"},
]  # fmt: skip


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write a finished run with given findings: ``write(found, evidence)`` gives its folder."""

    def write(found: Found, evidence: list[dict[str, Any]] | None = None, pool: str = "pool <b>.jsonl") -> Path:
        seconds = count()
        home = tmp_path_factory.mktemp("home")
        folder = home / "run"
        (home / pool).write_text("{}\n", encoding="utf-8")
        run = Run.start(
            folder,
            Recipe(method="tokens", inputs={"pool": str(home / pool)}, params={"keep": 0.6}),
            command="tamis tokens pool.jsonl --base smollm2 --warmup 64",
            clock=lambda: (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))).isoformat(),
        )
        step = run.step("decide", version=1)
        (step.folder / "findings.json").write_text(json.dumps(found), encoding="utf-8")
        step.finish()
        Evidence(EVIDENCE if evidence is None else evidence).frame.write_parquet(folder / "evidence.parquet")
        run.finish("complete", {"rows": found["pool"]["records"]})
        return folder

    return write


@pytest.fixture(scope="module")
def shown(write: Write) -> Shown:
    """Give the page of one of the worlds; each is made once."""

    @cache
    def shown(name: str) -> str:
        return page(write(WORLDS[name]))

    return shown


def page(folder: Path) -> str:
    run = Run.open(folder)
    return assemble(run, ENTRY, [*section(folder), cost(run), again(run)])


def body(folder: Path) -> str:
    """Only what this method adds to the page."""
    return "".join(part.html for part in section(folder))


def plain(html: str) -> str:
    words = re.sub(r"<svg.*?</svg>", " ", html.split("</style>")[-1], flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", words)))


def rows_under(html: str, caption: str) -> list[list[str]]:
    """Cells of the body rows of the table whose caption begins so."""
    [table] = [t for t in re.findall(r"<table.*?</table>", html, flags=re.DOTALL)
               if plain(t.split("<caption>")[1]).strip().startswith(caption)]  # fmt: skip
    return [
        [plain(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], flags=re.DOTALL)
    ]


def figures(html: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)


def in_figures(html: str) -> list[str]:
    """All words in figures."""
    return [unescape(word) for svg in figures(html) for word in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def strips(html: str) -> list[str]:
    return re.findall(r'<p class="strip".*?</p>', html, flags=re.DOTALL)


SHARE = [0.5, None, None]
NOTHING = [None, None, None]
WORLDS: dict[str, Found] = {
    "ordinary": findings(),
    "nothing defined": findings(
        kept={"tokens": 0, "share": None, "cut": None, "positive": NOTHING, "near": NOTHING, "slope": None, "ties": 0,
              "flips_bf16": None},
        pool={"records": 1, "tokens": 3, "response": 0, "ranked": 0, "no_response": 1, "undecided": 1},
        density={"edges": [0.0] * 61, "counts": [0] * 60, "below": 0, "above": 0},
        shares={"source": [], "role": [], "class": [{"name": "word", "tokens": 0, "kept": NOTHING}] * 2,
                "position": [{"name": "1", "tokens": 0, "kept": NOTHING}]},
        ngrams={"most": [], "least": []}, strips=[strip(tokens=[], score=[], keep=[], base=[], reference=[])],
        warnings=[], emptied={"rows": 0, "ids": []},
        warmup={"records": 1, "tokens": 0, "steps": 0, "loss": [], "held_out_before": None, "held_out_after": None},
    ),
    "self-evolving": findings(
        settings={"mode": "self-evolving"}, warmup=None, kept={"cut": None},
        stages=[{"stage": 0, "records": 60, "tokens": 8000, "kept": 8000, "cut": None, "loss": 2.0},
                {"stage": 1, "records": 60, "tokens": 8000, "kept": 4800, "cut": -0.001, "loss": None}],
    ),
    "given reference": findings(warmup=None, models={"base": {"name": "a", "fingerprint": "1", "parameters": 7},
                                                     "reference": {"name": f"mine {NASTY}", "fingerprint": "2"}}),
    "no source": findings(shares={"source": []}),
    "nothing emptied": findings(emptied={"rows": 0, "ids": []}),
    "same models": findings(limits={"same_models": True}, kept={"near": [1.0, 1.0, 1.0], "cut": 0.0, "ties": 29899}),
    "random": findings(settings={"rank_by": "random"}, kept={"cut": 0.4, "positive": NOTHING}),
    "reverse": findings(settings={"rank_by": "reverse"}),
    "base-high": findings(settings={"rank_by": "base-high"}),
    "within answers": findings(settings={"scope": "sample", "with_prompt_tokens": True}, kept={"cut": None}),
    "seen": findings(settings={"held_out": False, "template": "plain"}, warmup={"held_out_after": 2.2},
                     emptied={"rows": 100, "ids": []}, kept={"near": [0.4, 0.39, 0.41]}),
    "huge": findings(
        pool={"records": 5_000_000, "tokens": 98_765_432_109, "response": 54_321_098_765, "ranked": 54_321_098_700},
        kept={"tokens": 32_592_659_220, "cut": -12345.678, "slope": 1e9, "positive": [0.0, 0.0, 1e-9]},
        density={"edges": np.linspace(-1e6, 1e6, 61).tolist(), "counts": [10**9] * 60, "below": 10**9, "above": 10**9},
        shares={"source": shares(*(f"source {i}" for i in range(60)))},
        strips=[strip(score=[1e6, 1e5, 1e-9, None, -1e6])],
        emptied={"rows": 5678, "ids": [f"r{i}" for i in range(20)]},
    ),
    "hostile": findings(
        models={"base": {"name": NASTY, "fingerprint": NASTY},
                "reference": {"name": f"\x00{NASTY}", "fingerprint": ""}},
        settings={"template": NASTY}, warnings=[f"{NASTY}\x00"],
        shares={"source": shares(NASTY, "\ud800\x00\x1b", "\u202egnp"), "role": shares(NASTY)},
        emptied={"rows": 2, "ids": [NASTY, "a\ud800b"]},
        ngrams={"most": [{"text": f"{NASTY}\ud800", "n": 1, "score": SHARE, "kept": 0.5}]},
        strips=[strip(NASTY, prompt=f"{NASTY}\x00\ud800",
                      tokens=[NASTY, "</p>", "\x00\x1b[0m", "\ud800\ufffd", "\u202eevil"])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_every_page_is_escaped_labelled_and_without_gaps(shown: Shown, name: str) -> None:
    html = shown(name)
    html.encode("utf-8")
    inside = html.split("</style>")[1]
    assert re.findall(r'<section id="([^"]*)"', html) == [*HEADINGS, "cost", "again"]
    assert "<script" not in html
    assert "<b>.jsonl" not in html
    assert not re.search(r"\b(nan|None|Undefined|inf)\b", plain(html))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", html)
    assert "http" not in inside
    assert inside.count("<table") == inside.count("<caption>")
    assert inside.count("<figcaption>") == inside.count("<figure")
    for figure in figures(html):
        root = ET.fromstring(figure)
        assert root.get("role") == "img"
        assert len(str(root.get("aria-label"))) > 40
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', figure)) <= COLOURS


@pytest.mark.parametrize("name", WORLDS)
def test_no_token_is_called_names(shown: Shown, name: str) -> None:
    text = plain(shown(name))
    assert not re.search(r"\b(bad|nois[ey]\w*|garbage|useless|worthless|junk|harmful)\b", text, flags=re.IGNORECASE)
    assert "A low score is no verdict on a token" in text
    assert "Masking saves no training FLOPs" in text
    assert "what both models know already, what neither of them can predict, and what the reference predicts" in text


def test_the_body_is_the_same_twice(write: Write) -> None:
    assert body(write(findings())) == body(write(findings()))


def test_the_lead_comes_first_and_is_named_after_the_pool(write: Write) -> None:
    lead = section(write(findings()))[0]
    assert (lead.nav, lead.title) == ("", "Tokens of pool <b>.jsonl")
    assert lead.html.index("summary") < lead.html.index("no verdict on a token") < lead.html.index('class="figures"')


def test_the_summary_says_what_is_kept_and_how_sharp_the_cut_is(write: Write) -> None:
    text = plain(section(write(findings()))[0].html)
    assert "236 records hold 30,000 response tokens; 29,900 of them could be ranked" in text
    assert "lower its loss is under the reference (warmed up on 64 records) than under the base, smollm2" in text
    assert "The 17,940 response tokens with the highest scores (60.0 %) carry the loss" in text
    assert "6.2 % (5.7 % to 6.8 %) of the ranked tokens lie within 0.01 nats of the cut, −0.0006" in text


def test_figures_on_top_are_those_of_the_findings(write: Write) -> None:
    html = section(write(findings()))[0].html
    lead = re.findall(
        r'<dt>([^<]*)<span class="aside">([^<]*)</span></dt><dd class="number">([^<]*)</dd>', unescape(str(html))
    )
    assert {name: (number, aside) for name, aside, number in lead} == {
        "records": ("236", "2 undecided"),
        "response tokens ranked": ("29,900", "100 tokens not measured"),
        "tokens kept": ("17,940", "60.0 % of those ranked"),
        "cut": ("−0.0006", "score of the last kept token"),
        "within 0.01 of the cut": ("6.2 %", "5.7 % to 6.8 %"),
        "scores above 0": ("59.4 %", "58.0 % to 60.7 %"),
        "other side in bf16": ("1.2 %", "1.0 % to 1.5 %"),
        "records without a kept token": ("4", "of 236"),
        "wall time": ("3 s", "from the ledger"),
    }


def test_estimates_that_are_not_defined_are_dashes(shown: Shown) -> None:
    html = shown("nothing defined")
    cut = {row[0]: row[1] for row in rows_under(html, "The cut and what lies around it")}
    assert cut == {"the cut": "–", "scores above 0": "–", "within 0.01 of the cut": "–", "slope at the cut": "–",
                   "ties at the cut": "0", "other side in bf16": "–"}  # fmt: skip
    assert [row[2] for row in rows_under(html, "Kept share by kind of token")] == ["–", "–"]
    assert "All scores are alike, so there is no density to draw" in plain(html)
    assert "no response token" in plain(html)
    assert "Loss of the warm-up over 0 steps: not recorded." in plain(html)
    assert "too few wordings occur often enough" in plain(html)


def test_what_could_not_be_used_is_counted(write: Write) -> None:
    html = page(write(findings(pool={"rejected": 5})))
    assert [row[1] for row in rows_under(html, "What could not be used")] == ["5", "3", "1", "100", "2"]
    assert "There is nothing to warn of" not in plain(html)
    assert "3 records are longer than 2,048 tokens." in plain(html)


@pytest.mark.parametrize(
    ("world", "heading"),
    [
        ("same models", "✕ No signal: both models give every token the same loss"),
        ("random", "▲ This is a control, not a cleaning"),
        ("reverse", "▲ This is a control, not a cleaning"),
        ("seen", "▲ The reference has seen records of this pool"),
        ("seen", "▲ The cut falls where scores are dense"),
        ("seen", "▲ Many records have no kept token"),
    ],
)
def test_doubts_stand_in_the_lead(write: Write, world: str, heading: str) -> None:
    assert heading in plain(section(write(WORLDS[world]))[0].html)


@pytest.mark.parametrize(("split", "after", "doubted"), [
    ("held out", 2.2, True), ("ranked tokens", 2.1, True), ("ranked tokens", 2.0, False), ("masked tokens", 2.5, False),
    (None, 2.2, True),
])  # fmt: skip
def test_a_reference_that_is_no_better_is_doubted(write: Write, split: str | None, after: float, doubted: bool) -> None:
    row = {"metric": "loss a token", "split": split, "before": 2.1, "after": after, "low": after - 0.1,
           "high": after + 0.1, "n": 30, "better": "lower"}  # fmt: skip
    lead = plain(section(write(findings(), [row]))[0].html)
    assert ("▲ The reference is not better than the base" in lead) == doubted
    assert (f"2.100 before, {after:.3f} ({after - 0.1:.3f} to {after + 0.1:.3f}) after" in lead) == doubted


def test_losses_of_chosen_tokens_are_no_evidence(write: Write, shown: Shown) -> None:
    row = {"metric": "loss a token", "split": "kept tokens", "before": 2.1, "after": 2.0, "low": 1.9, "high": 2.1,
           "n": 30, "better": "lower"}  # fmt: skip
    words = "That they do is no evidence of anything"
    assert words in plain(page(write(findings(), [row])))
    assert words not in plain(shown("ordinary"))


def test_ordinary_findings_raise_no_doubt(write: Write) -> None:
    assert section(write(findings()))[0].html.count('class="banner') == 1


def test_strips_mark_every_token_by_more_than_colour(write: Write) -> None:
    html = page(write(findings(strips=[strip()])))
    spans = re.findall(r'<span class="(\w+)" title="([^"]*)">(.*?)</span>', strips(html)[0], flags=re.DOTALL)
    assert [(kind, re.sub(r"<[^>]+>", "", text)) for kind, _, text in spans] == [
        ("k4", "Paul"), ("k2", "New"), ("k1", "man"), ("u", ".↵\n"), ("m", "&lt;|end|&gt;")
    ]  # fmt: skip
    assert [title for _, title, _ in spans] == [
        "score 0.500: base 3.000, reference 2.500",
        "score 0.0200: base 1.000, reference 0.980",
        "score −0.0006: base 0.100, reference 0.101",
        "not measured: neither ranked nor kept",
        "score −0.750: base 1.250, reference 2.000",
    ]
    style = html.split("</style>")[0]
    assert re.search(r"\.strip \.m \{[^}]*underline dotted", style)
    assert re.search(r"\.strip \.u \{[^}]*dashed", style)
    assert "3 of 4 tokens kept, 1 not measured" in plain(html)
    assert 'dir="auto"' in strips(html)[0]


def test_further_strips_fold_out(write: Write, shown: Shown) -> None:
    html = shown("ordinary")
    assert f"{7 - OPEN_STRIPS} further answers" in plain(html)
    few = page(write(findings(strips=[strip(cut_short=True)])))
    assert "further answer" not in few
    assert "… goes on" in strips(few)[0]
    assert "3 of 4 tokens kept, 1 not measured, in the part shown" in plain(few)
    assert "No answer has a token that could be shown" in plain(page(write(findings(strips=[]))))


def test_the_ends_of_a_strip_are_listed_with_both_losses(write: Write) -> None:
    n = 30
    long = strip("r<1>", tokens=[f" w{i}" for i in range(n)], score=[i / 10 - 1 for i in range(n)],
                 keep=[i >= 12 for i in range(n)], base=[1.0] * n,
                 reference=[2 - i / 10 for i in range(n)])  # fmt: skip
    rows = rows_under(page(write(findings(strips=[long]))), "The highest and the lowest scores of record r<1>")
    assert [row[0] for row in rows] == ["w29", "w28", "w27", "w26", "w3", "w2", "w1", "w0"]
    assert rows[0] == ["w29", "kept", "1.900", "1.000", "−0.900"]
    assert rows[-1][1:3] == ["masked", "−1.000"]


def test_hostile_tokens_are_shown_as_text(shown: Shown) -> None:
    [shown] = strips(shown("hostile"))
    text = unescape(re.sub(r"<[^>]+>", "", shown))
    assert text.startswith(NASTY + "</p>␀␛[0m")
    assert "U+202Eevil" in text
    assert shown.count("</p>") == 1


def test_a_page_of_many_long_strips_stays_small(write: Write) -> None:
    n = 120
    rng = np.random.default_rng(0)
    score = rng.normal(size=n).round(6).tolist()
    some = strip(tokens=[" token"] * n, score=score, keep=[s > 0 for s in score], base=[2.0] * n, reference=[1.0] * n)
    assert len(page(write(findings(strips=[some] * 12)))) < 320_000


def test_a_token_kept_without_a_score_is_not_called_unmeasured(write: Write) -> None:
    whole = strip(score=[None] * 5, keep=[True] * 5, base=[1.0] * 5, reference=[None] * 5)
    html = page(write(findings(strips=[whole])))
    assert re.findall(r'<span class="(\w+)" title="([^"]*)"', strips(html)[0]) == [("k1", "kept without a score")]
    assert "5 of 5 tokens kept" in plain(html)


def test_models_without_size_or_fingerprint_have_no_gaps(write: Write) -> None:
    models = {"base": {"name": "a", "fingerprint": "1"}, "reference": {"name": "b", "fingerprint": None}}
    html = page(write(findings(models=models)))
    assert rows_under(html, "Records are read in the chat template") == [["base", "a", "1"], ["reference", "b", "–"]]


def test_alike_neighbours_become_one_element_only_where_no_hover_text_is_lost(write: Write) -> None:
    quiet = strip(tokens=["a", "b", "c"], score=[None, None, 0.1], keep=[False, False, True], base=[None, None, 1.0],
                  reference=[None, None, 0.9])  # fmt: skip
    [shown] = strips(page(write(findings(strips=[quiet]))))
    assert re.findall(r'<span class="(\w+)"[^>]*>([^<]*)</span>', shown) == [("u", "ab"), ("k1", "c")]


def test_the_cut_is_drawn_where_there_is_one(shown: Shown) -> None:
    words = in_figures(shown("ordinary"))
    assert {"cut −0.0006", "← masked", "kept →"} <= set(words)
    html = shown("within answers")
    assert "kept →" not in in_figures(html)
    assert "There is not one cut for all tokens, so none is drawn" in plain(html)
    assert "12 below and 34 above are not drawn" in plain(html)


def test_shares_are_those_of_the_findings(write: Write, shown: Shown) -> None:
    html = shown("ordinary")
    assert rows_under(html, "Kept share by kind of token")[0] == ["word", "1,000", "30.0 % (25.0 % to 35.0 %)"]
    assert len(rows_under(html, "Kept share by source")) == 2
    assert len(rows_under(html, "Kept share by place in the answer")) == 6
    assert "shares by role" not in plain(html)
    assert "There is one source only, web , so" in plain(page(write(findings(shares={"source": shares("web")}))))
    assert {"word", "30 % of 1,000", "summarization"} <= set(in_figures(html))


def test_no_source_means_no_figure_of_sources(shown: Shown) -> None:
    html = shown("no source")
    assert "Kept share by source" not in html
    assert len(figures(html)) == len(figures(shown("ordinary"))) - 1


def test_of_many_sources_the_largest_are_drawn(shown: Shown) -> None:
    html = shown("huge")
    rows = rows_under(html, "Kept share by source")
    assert [row[0] for row in rows] == [f"source {i}" for i in range(40, 60)]
    assert "40 further ones are not shown" in plain(html)
    assert "54,321,098,765 response tokens" in plain(html)
    assert "5,678 of 5,000,000 records (0.1 %) have no kept token left" in plain(html)
    assert "r8, r9 and 5,668 more" in plain(html)


def test_emptied_records_are_a_warning(shown: Shown) -> None:
    assert "4 of 236 records (1.7 %) have no kept token left and would not be trained on: r7, r9 and 2 more." in plain(
        shown("ordinary")
    )
    none = plain(shown("nothing emptied"))
    assert "Every record with a ranked token keeps at least one" in none
    assert "have no kept token left" not in none


def test_wordings_carry_intervals_or_say_that_there_is_none(shown: Shown) -> None:
    html = shown("ordinary")
    assert rows_under(html, "Highest scores")[0] == ["of the ↵", "12", "0.400 (0.310 to 0.520)", "90 %"]
    assert rows_under(html, "Lowest scores")[0] == ["Once upon", "7", "−0.400 (no interval)", "0 %"]


def test_evidence_is_printed_by_its_kind(write: Write, shown: Shown) -> None:
    html = shown("ordinary")
    assert rows_under(html, "Before and after, the latter") == [
        ["held-out loss a token", "held out", "2.100", "1.900 (1.800 to 2.000)", "30", "lower"],
        ["kept response tokens", "pool", "30,000", "17,940, counted", "30,000", "neither"],
        ["share of records with a kept token", "pool", "100.0 %", "98.3 % (97.0 % to 99.0 %)", "236", "neither"],
        ["loss of kept tokens", "pool", "–", "–", "0", "neither"],
    ]
    assert "No quantity could be measured" in plain(page(write(findings(), [])))


def test_the_warm_up_curve_shows_held_out_losses(shown: Shown) -> None:
    html = shown("ordinary")
    assert len(re.findall(r"M[\d.]+,[\d.]+h0", figures(html)[-1])) == 6
    assert "from 2.10 to 1.96 nats a token; held out 2.10 before, 1.90 after" in plain(html)
    assert "They are no part of the pool" in plain(html)


def test_a_warm_up_of_one_step_is_a_sentence(write: Write) -> None:
    html = page(
        write(findings(warmup={"steps": 1, "loss": [[1, 2.5]], "held_out_before": None, "held_out_after": None}))
    )
    assert "Loss of the warm-up over 1 step: 2.50 nats a token." in plain(html)
    assert "records trained on" not in html


def test_a_dense_cut_is_told_with_what_rounding_moves(shown: Shown) -> None:
    assert "Computing in bfloat16 alone moves 1.2 % (1.0 % to 1.5 %) of the tokens of a sample." in plain(shown("seen"))


def test_a_given_reference_has_no_warm_up(shown: Shown) -> None:
    html = shown("given reference")
    text = plain(html)
    assert "How it was trained is not on record here" in text
    assert "warm-up" not in text.split("Did it help?")[1]
    assert "what that training taught" in text
    models = rows_under(html, "Records are read in the chat template")
    assert [row[2] for row in models] == ["7", "–"]


def test_stages_are_listed_with_cuts_of_their_own(shown: Shown) -> None:
    html = shown("self-evolving")
    assert rows_under(html, "Each stage trains the model") == [
        ["0", "60", "8,000", "8,000", "100.0 %", "–", "2.000"],
        ["1", "60", "8,000", "4,800", "60.0 %", "−0.0010", "–"],
    ]
    text = plain(html)
    assert "The first slice is kept whole, every later one has a cut of its own" in text
    assert "one for every slice" in text
    assert "Self-evolving cleaning can hurt." in text
    assert "than under the base, smollm2, slice by slice over 2 slices" in text


def test_a_run_without_evidence_is_refused_with_advice(write: Write) -> None:
    folder = write(findings())
    (folder / "evidence.parquet").unlink()
    with pytest.raises(RunStateError, match=r"no evidence\.parquet.*tamis resume"):
        section(folder)


def test_findings_are_not_changed(write: Write) -> None:
    found = findings()
    before = copy.deepcopy(found)
    section(write(found))
    assert found == before
