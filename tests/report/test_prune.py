"""The report of layer pruning, drawn from what a run leaves."""

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
import polars as pl
import pytest

from tamis.errors import RunStateError
from tamis.evidence import Evidence
from tamis.prune.card import REASONING
from tamis.prune.evidence import CHANGE, HELD, PERPLEXITY, SIZES, SOLVED, SPEEDS
from tamis.prune.summary import RUINED
from tamis.recipe import Recipe
from tamis.registry import METHODS
from tamis.report.page import assemble
from tamis.report.provenance import again, cost
from tamis.report.prune import section
from tamis.report.prune_charts import Held, Panel, layer_panels, perplexity_curve
from tamis.report.prune_numbers import agreement
from tamis.report.prune_ratios import Ratio, ratio_figure
from tamis.runs import Run
from tamis.runs.step_files import write_frame

NASTY = "<script>alert('x')</script>"
HEADINGS = ["what-came-in", "layers", "what-was-done", "did-it-help", "limits"]
COLOURS = {"none"} | {f"var(--{name})" for name in ("ink", "muted", "rule", "accent", "quiet", "page")}
SETTINGS = {
    "ratio": 0.25, "n_drop": None, "n_layers": None, "drop": None, "keep": None, "n_windows": 10, "seq_len": 128,
    "magnitude_reduction": "norm_sum", "magnitude_p": 1, "taylor_absolute": "total", "protect_first": None,
    "protect_last": None, "protect": None, "fidelity": "product", "dtype": "auto",
}  # fmt: skip
TEXTS = {"train": {"records": 400, "tokens": 80_000}, "held": {"records": 64, "tokens": 12_800},
         "choice": {"records": 24, "tokens": 4_800}, "documents": {"records": 400, "tokens": 95_000},
         "lost": 2}  # fmt: skip
Found = dict[str, Any]
Row = dict[str, Any]


def order_of(scores: list[float | None], first: list[int] | None = None) -> list[int]:
    rest = [i for i, score in enumerate(scores) if score is not None and i not in (first or [])]
    return [*(first or []), *sorted(rest, key=lambda i: (scores[i], i))]


def size_of(layers: int, *, tied: bool = True) -> dict[str, int]:
    parameters = 28_311_552 * (1 if tied else 2) + layers * 3_540_000 + 576
    return {"layers": layers, "parameters": parameters, "bytes": 2 * parameters, "cache_bytes_per_token": 768 * layers}


def findings(n: int = 30, **changes: Any) -> Found:
    """Findings of a healed run of ``auto`` over n layers; ``changes`` replaces entries."""
    rng, k = np.random.default_rng(0), n // 4
    bi = (0.03 + 0.5 * np.exp(-np.arange(n) / 2) + 0.35 * np.exp(-(n - 1 - np.arange(n)) / 1.5)
          + 0.02 * rng.random(n)).tolist()  # fmt: skip
    block = list(range(n // 2, n // 2 + k))
    angular = [0.11 if i in block else 0.13 + 0.012 * min(abs(i - block[0]), abs(i - block[-1])) for i in range(n)]
    reverse = [float(n - 1 - i) for i in range(n)]
    scores: dict[str, list[float | None]] = {"reverse": reverse, "bi": bi, "angular": angular}
    orders = {"reverse": order_of(reverse), "bi": order_of(bi), "angular": order_of(angular, block)}
    dropped = {name: sorted(order[:k]) for name, order in orders.items()}
    curve = [{"dropped": i, "layer": None if i == 0 else orders["bi"][i - 1],
              "perplexity": [19.2 * 1.16**i, 17.1 * 1.16**i, 21.6 * 1.165**i]} for i in range(k + 4)]  # fmt: skip
    given: Found = {
        "model": {"name": "smollm2", "fingerprint": "ab12", "layers": n, "kind": "llama", "dtype": "bfloat16"},
        "texts": TEXTS, "criterion": "bi", "auto": True, "scores": scores, "orders": orders,
        "dense": curve[0]["perplexity"],
        "candidates": [
            {"criterion": "reverse", "dropped": dropped["reverse"], "perplexity": [3.6e7, 2.9e7, 4.4e7]},
            {"criterion": "bi", "dropped": dropped["bi"], "perplexity": curve[k]["perplexity"]},
            {"criterion": "angular", "dropped": dropped["angular"],
             "perplexity": [1.07 * each for each in curve[k]["perplexity"]]},
        ],
        "curve": curve, "dropped": dropped["bi"], "kept": [i for i in range(n) if i not in dropped["bi"]],
        "undecided": [], "protected": [],
        "tied": "the output layer is the embedding matrix, so the input embeddings learn too",
        "healing": {"what": "norm, output layer and the last 3 layers, 12 steps of 64 records at 1e-05",
                    "how": "last3", "training": {"steps": 12, "losses": [4.0, 3.5, 3.1]},
                    "settings": {"steps": None, "epochs": 2.0}},
        "sizes": {"dense": size_of(n), "cut": size_of(n - k), "healed": size_of(n - k)},
        "settings": SETTINGS, "warnings": ["2 records could not be encoded and were left out"],
    }  # fmt: skip
    return {**given, **changes}


def row(metric: str, split: str, group: str, before: float | None, after: list[float], n: int | None) -> Row:
    better = "higher" if metric in (*SPEEDS.values(), SOLVED) else "lower"
    return {"metric": metric, "split": split, "group": group, "before": before, "after": after[0], "low": after[1],
            "high": after[2], "n": n, "better": better}  # fmt: skip


def quality(group: str, times: float, dense: float = 21.0) -> list[Row]:
    ends = [times, 0.95 * times, 1.06 * times]
    return [row(PERPLEXITY, HELD, group, dense, [dense * each for each in ends], 12_736),
            row(CHANGE, HELD, group, None, np.log(ends).tolist(), 12_736)]  # fmt: skip


def evidence(found: Found, cut: float = 2.7, healed: float | None = 1.62) -> list[Row]:
    rows, sizes = [], found["sizes"]
    groups = {"cut": cut} | ({} if healed is None else {"healed": healed})
    for group, times in groups.items():
        for key, name in SIZES.items():
            after = float(sizes[group][key])
            rows.append(row(name, "", group, float(sizes["dense"][key]), [after] * 3, None))
        if group == list(groups)[-1]:
            rows.append(row(SPEEDS["prefill"], "", group, 812.0, [1010.0, 985.0, 1035.0], 5))
            rows.append(row(SPEEDS["decode"], "", group, 21.4, [27.9, 27.1, 28.7], 5))
        rows += quality(group, times)
        rows.append(row(SOLVED, "sums probe", group, 0.35, [0.05, 0.01, 0.24], 20))
    return rows


def unmade(**changes: Any) -> Found:
    """Findings of a run without a model."""
    return findings(sizes={}, healing=None, tied=None, **changes)


def with_gaps() -> Found:
    found = unmade()
    bi = [None if i in (4, 5, 17) else score for i, score in enumerate(found["scores"]["bi"])]
    return {**found, "auto": False, "candidates": [], "curve": [], "dense": None, "scores": {"bi": bi},
            "orders": {"bi": order_of(bi)}, "undecided": [4, 5, 17],
            "kept": [i for i in found["kept"] if i not in (4, 5, 17)],
            "warnings": ["3 layers have no finite score, so no model was cut (the first is layer 4)"]}  # fmt: skip


def given_list() -> Found:
    goes = [22, 23, 24, 25, 26, 27, 28]
    scores = [float(i not in goes) for i in range(30)]
    return findings(
        texts=None, criterion="given", auto=False, scores={"given": scores}, orders={"given": order_of(scores)},
        dense=None, candidates=[], curve=[], dropped=goes, kept=[i for i in range(30) if i not in goes], tied=None,
        healing=None, sizes={"dense": size_of(30), "cut": size_of(23)}, settings={**SETTINGS, "drop": "22-28"},
        warnings=["no held-out text: what the cut costs was not measured (add --data or --held-out)"],
    )  # fmt: skip


def many_layers() -> Found:
    found = findings(128)
    ppl: list[float | None] = [40.0 + 10 ** (6 - abs(i) / 4) if i < 24 else 21.0 + (i % 7) for i in range(128)]
    taylor: list[float | None] = [1e-3 * (1 + i % 13) for i in range(128)]
    found["scores"] |= {"ppl": ppl, "taylor": taylor, "magnitude": [1.2e6 + 1e3 * i for i in range(128)]}
    found["orders"] |= {name: order_of(found["scores"][name]) for name in ("ppl", "taylor", "magnitude")}
    return found


def hostile() -> Found:
    found, name = findings(), f"{NASTY}\x00, file"
    model = {"name": f"{NASTY}\x1b", "fingerprint": NASTY, "layers": 30, "kind": NASTY, "dtype": None}
    return {**found, "model": model, "criterion": name, "auto": False, "candidates": [], "tied": NASTY,
            "scores": {name: found["scores"]["bi"]}, "orders": {name: found["orders"]["bi"]}, "warnings": [NASTY, ""],
            "healing": {**found["healing"], "what": NASTY}}  # fmt: skip


HEALED, GIVEN, UNTIED = findings(), given_list(), findings()
UNTIED["sizes"]["healed"] = size_of(23, tied=False)
ONE = {**findings(4, candidates=[], auto=False), "curve": findings(4)["curve"][:1]}
WORLDS: dict[str, tuple[Found, list[Row]]] = {
    "healed": (HEALED, evidence(HEALED)),
    "scores only": (unmade(), []),
    "undecided": (with_gaps(), []),
    "given, no texts": (GIVEN, [each for each in evidence(GIVEN, healed=None) if each["metric"] in SIZES.values()]),
    "128 layers": (many_layers(), evidence(many_layers())),
    "not healed": (findings(healing=None, tied=None), evidence(findings(), healed=None)),
    "ruined": (HEALED, evidence(HEALED, cut=3e6, healed=2e5)),
    "brought back": (HEALED, evidence(HEALED, cut=40.0, healed=1.9)),
    "untied": (UNTIED, evidence(UNTIED)),
    "one layer of four": (ONE, evidence(ONE)),
    "hostile": (hostile(), evidence(hostile())),
}  # fmt: skip


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a finished run of these findings and evidence: ``write(found, evidence)`` gives its folder."""

    def write(found: Found, rows: list[Row]) -> Path:
        seconds = count()
        home = tmp_path_factory.mktemp("home")
        inputs = {} if found["texts"] is None else {"data": str(home / "pool.jsonl")}
        (home / "pool.jsonl").write_text("{}\n", encoding="utf-8")
        recipe = Recipe(method="prune", inputs=inputs, params={"model": "smollm2"}, seed=42)
        run = Run.start(
            home / "run",
            recipe,
            command="tamis prune smollm2",
            clock=lambda: (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))).isoformat(),
        )
        step = run.step("decide")
        write_frame(step.folder / "part-00000.parquet", pl.DataFrame({"layer": range(found["model"]["layers"])}))
        (step.folder / "findings.json").write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
        step.finish()
        write_frame(run.folder / "evidence.parquet", Evidence(rows).frame)
        done = "incomplete" if found["undecided"] else "complete"
        run.finish(done, {"rows": found["model"]["layers"]})
        return run.folder

    return write


@pytest.fixture(scope="module")
def shown(write: Callable[..., Path]) -> Callable[[str], str]:
    """Give the page of one of the worlds; each is made once."""

    @cache
    def shown(name: str) -> str:
        folder = write(*WORLDS[name])
        run = Run.open(folder)
        return assemble(run, METHODS["prune"], [*section(folder), cost(run), again(run)])

    return shown


def plain(html: str) -> str:
    words = re.sub(r"<svg.*?</svg>", " ", html.split("</style>")[-1], flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", words)))


def rows_under(html: str, caption: str) -> list[list[str]]:
    [table] = [t for t in re.findall(r"<table.*?</table>", html, flags=re.DOTALL)
               if plain(t.split("<caption>")[1]).strip().startswith(caption)]  # fmt: skip
    return [
        [plain(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, flags=re.DOTALL)]
        for line in re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], flags=re.DOTALL)
    ]


def figures(html: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)


def words_in(svg: str) -> list[str]:
    return [str(text.text) for text in ET.fromstring(svg).iter("text")]


@pytest.mark.parametrize("name", WORLDS)
def test_every_page_is_escaped_labelled_and_without_gaps(shown: Callable[[str], str], name: str) -> None:
    html = shown(name)
    inside = html.split("</style>")[1]
    assert re.findall(r'<section id="([^"]*)"', html) == [*HEADINGS, "cost", "again"]
    assert "<script" not in html
    assert not re.search(r"\b(nan|None|Undefined|inf|null)\b", plain(html))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", html)
    assert not re.search(r"https?:|src=|url\(", inside)
    assert inside.count("<table") == inside.count("<caption>")
    assert inside.count("<figcaption>") == inside.count("<figure")
    for figure in figures(html):
        root = ET.fromstring(figure)
        assert root.get("role") == "img"
        assert len(str(root.get("aria-label"))) > 40
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', figure)) <= COLOURS
        assert not {"nan", "null", "undefined"} & {word.lower() for word in words_in(figure)}


@pytest.mark.parametrize("name", WORLDS)
def test_every_page_says_what_perplexity_hides(shown: Callable[[str], str], name: str) -> None:
    text = plain(shown(name))
    assert REASONING in text
    assert "No criterion is best everywhere" in text
    assert "One run is no test of significance" in text


def test_a_healed_run_says_what_went_and_what_it_costs(shown: Callable[[str], str]) -> None:
    html = shown("healed")
    text = plain(html)
    assert "smollm2 without 7 of its 30 layers" in text
    assert "chosen by bi, the best of 3 criteria on held-out text: " in text
    assert "23.3 % of the layers are only 18.4 % of the parameters" in text
    assert "went from 21.0 to 56.7 by the cut and to 34.0 by the healing, 1.62 times (1.54 to 1.72)" in text
    assert "▲ The output layer was tied to the embeddings The output layer is the embedding matrix" in text
    assert "✕" not in text
    assert "Held-out records are of the same file, so they flatter the healed model" in text
    assert len(figures(html)) == 3


def test_the_candidates_are_shown_with_the_winner_and_a_warning(shown: Callable[[str], str]) -> None:
    html = shown("healed")
    rows = rows_under(html, "Perplexity of each cut before any healing, on 24 records to choose with")
    assert [line[0] for line in rows] == ["reverse", "bi (chosen)", "angular"]
    assert rows[0][2:] == ["36,000,000 (29,000,000 to 44,000,000)", "1,875,000"]
    text = plain(html)
    assert "its value here is optimistic" in text
    assert "Its interval and that of angular overlap" in text
    assert "Dropping the last layers, as the paper recommends" in text
    assert "The criterion was chosen on 24 records" in text


def test_evidence_stands_side_by_side_and_counts_have_no_interval(shown: Callable[[str], str]) -> None:
    rows = {line[0]: line[1:] for line in rows_under(shown("healed"), "The uncut model and what became of it")}
    assert rows["parameters"] == ["134,512,128", "109,732,128", "109,732,128", "–", "lower"]
    assert rows["tokens written a second (decode)"] == ["21.4", "–", "27.9 (27.1 to 28.7)", "5", "higher"]
    assert rows[PERPLEXITY][:2] == ["21.0", "56.7 (53.9 to 60.1)"]
    assert rows[CHANGE][0] == "–"
    assert rows["share solved, sums probe"][1] == "5 % (1 % to 24 %)"


def test_agreement_counts_shared_layers_and_rank_correlation(shown: Callable[[str], str]) -> None:
    rows = rows_under(shown("healed"), "Agreement of two criteria")
    assert [line[0] for line in rows] == ["reverse, bi", "reverse, angular", "bi, angular"]
    assert "share 1.6 on average" in plain(shown("healed"))
    [pair] = agreement({**findings(4), "model": {"layers": 4}, "criterion": "a", "dropped": [0, 1], "candidates": [
        {"criterion": "a", "dropped": [0, 1]}, {"criterion": "b", "dropped": [1, 3]}], "orders": {
        "a": [0, 1, 2, 3], "b": [3, 1, 2, 0]}})  # fmt: skip
    assert pair["shared"] == [1]
    assert pair["correlation"] == pytest.approx(1 - 6 * (9 + 0 + 0 + 9) / (4 * 15))


def test_one_criterion_cannot_be_compared(shown: Callable[[str], str]) -> None:
    assert "One criterion was computed, bi, so nothing can be compared" in plain(shown("undecided"))
    assert "No criterion was computed, so there is nothing to compare" in plain(shown("given, no texts"))


def test_scores_only_make_no_model(shown: Callable[[str], str]) -> None:
    html = shown("scores only")
    text = plain(html)
    assert "the run was asked for scores only, so no model was cut" in text
    assert "there is nothing to set beside the uncut one" in text
    assert "mergekit.yaml" not in text.split("How to do it again")[0]
    assert len(figures(html)) == 2


def test_undecided_layers_are_a_third_state(shown: Callable[[str], str]) -> None:
    html = shown("undecided")
    text = plain(html)
    assert "✕ Undecided layers, so no model was cut" in text
    assert "neither kept nor dropped" in text
    assert "Nothing was healed" not in text
    assert "Layers 4-5, 17 have no finite score" in text
    assert "tamis prune smollm2 --data" in text
    assert "--dtype float32" in text


def test_given_layers_without_texts_say_that_nothing_was_measured(shown: Callable[[str], str]) -> None:
    html = shown("given, no texts")
    text = plain(html)
    assert "Layers 22-28 of 30" in text
    assert "▲ Not measured" in text
    assert "nothing on this page tells which" in text
    assert "Perplexity was not measured" in text
    assert "tamis prune smollm2 --data RECORDS.jsonl --drop 22-28 --heal last3" in text


@pytest.mark.parametrize(("name", "heading"), [
    ("ruined", "✕ This cut ruins the model"), ("brought back", "▲ The cut alone ruins the model"),
])  # fmt: skip
def test_a_ruinous_cut_is_called_so(shown: Callable[[str], str], name: str, heading: str) -> None:
    assert heading in plain(shown(name))
    assert "ruins the model" not in plain(shown("healed")).split("Layers of")[0].split("What came in")[0]
    assert RUINED == 10


def test_an_untied_head_adds_to_the_size(shown: Callable[[str], str]) -> None:
    assert "The copy of the output layer adds 28.3 M parameters again" in plain(shown("untied"))


def test_the_next_commands_are_quoted_and_run_on_the_same_data(shown: Callable[[str], str]) -> None:
    text = plain(shown("healed"))
    assert "pool.jsonl --drop 11,13,15,18-21 --heal last3 --epochs 4" in text
    assert re.search(r"--criterion taylor --drop-layers 7", text)
    assert re.search(r"--scores \S+scores\.csv --drop-layers 3", text)


def test_panels_have_a_bar_and_a_cell_for_every_layer() -> None:
    bi = Panel("bi", "words", [0.4, 0.1, None, 0.2], [1], [3], [2], chosen=True)
    reverse = Panel("reverse", "words", None, [3], [], [], chosen=False)
    svg = layer_panels([bi, reverse], 4, label="panels")
    accent = re.findall(r'<path d="M[^"]*Z" fill="var\(--accent\)"( fill-opacity="[\d.]+")?', svg)
    assert len(accent) == 3  # bar and cell of layer 1 by bi, cell of layer 3 by reverse
    assert accent[-1] == ' fill-opacity="0.35"'
    quiet = re.findall(r'<path d="M[^"]*Z" fill="var\(--quiet\)"', svg)
    assert len(quiet) == 2 + 2 + 3  # bars, cells of bi and of reverse
    assert svg.count('stroke="var(--page)"') == 1  # the hollow mark
    assert {"bi (chosen)", "reverse", "0", "3"} <= set(words_in(svg))


def test_scores_over_many_decades_are_on_a_log_scale(shown: Callable[[str], str]) -> None:
    html = shown("128 layers")
    assert "Scores by ppl are on a log scale" in plain(html)
    assert "Protected, whatever the score: 0-3, 126-127 by ppl, taylor and magnitude." in plain(html)
    assert {"10", "1k", "100k", "10M", "120"} <= set(words_in(figures(html)[0]))


def test_the_curve_marks_the_choice_and_the_healed_model() -> None:
    curve = [(i, [20.0 * 1.2**i, 18.0 * 1.2**i, 22.0 * 1.2**i]) for i in range(6)]
    svg = perplexity_curve(curve, 3, [Held("healed 25", 3, [25.0, 23.0, 27.0], ring=True)], label="curve")
    assert svg is not None
    assert {"3 dropped", "healed 25"} <= set(words_in(svg))
    assert 'stroke-dasharray="5,4"' in svg
    assert perplexity_curve(curve[:1], 1, [], label="curve") is None


def test_a_ruinous_ratio_does_not_squeeze_the_others() -> None:
    small = Ratio("parameters", (0.8, 0.8, 0.8), "80 %")
    groups = [("Size", [small]), ("Quality", [Ratio("perplexity", (2e5, 1e5, 3e5), "× 200,000")])]
    svg = ratio_figure(groups, label="ratios")
    assert svg is not None
    assert {"0%", "50%", "100%"} <= set(words_in(svg))
    assert any(word.startswith("× ") and word.endswith("k") for word in words_in(svg))
    assert ratio_figure([], label="nothing") is None


def test_a_run_without_evidence_is_refused_with_advice(write: Callable[..., Path]) -> None:
    folder = write(*WORLDS["scores only"])
    (folder / "evidence.parquet").unlink()
    with pytest.raises(RunStateError, match=r"no evidence\.parquet.*tamis resume"):
        section(folder)


def test_findings_are_not_changed_and_the_body_is_the_same_twice(write: Callable[..., Path]) -> None:
    found, rows = WORLDS["healed"]
    before = copy.deepcopy(found)
    bodies = []
    for _ in range(2):
        parts = section(write(found, rows))
        bodies.append(re.sub(r"\S*/run/scores\.csv|\S*pool\.jsonl", "", "".join(part.html for part in parts)))
    assert found == before
    assert bodies[0] == bodies[1]
