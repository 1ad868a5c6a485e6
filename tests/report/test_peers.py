from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Sequence
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

from tamis.engine import get_engine
from tamis.errors import RunStateError
from tamis.people import consensus
from tamis.people.job import audit
from tamis.recipe import Recipe
from tamis.report import write_report
from tamis.report.findings import read_findings
from tamis.report.peers import section
from tamis.report.peers_sentences import flagged_count, measured_count, threshold_words
from tamis.runs import Run

CLOCK = count()
NASTY = "<script>alert('x')</script>"
HEADINGS = ["what-came-in", "workers", "what-was-done", "what-happens-next", "did-it-help", "limits"]
COLOURS = {"none"} | {
    f"var(--{name})"
    for name in ("ink", "muted", "rule", "accent", "quiet", "heat", "on-light-cell", "on-full-cell", "page")
}
Found = dict[str, Any]
Make = Callable[..., Path]


def tick() -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(CLOCK))).isoformat(timespec="seconds")


def write_crowd(
    folder: Path,
    *,
    workers: int = 12,
    pasted: int = 3,
    idle: int = 0,
    tasks: int = 240,
    per_task: int = 6,
    classes: Sequence[str] = ("no", "perhaps", f"yes {NASTY}"),
    models: Sequence[str] = ("big", f"small {NASTY}"),
    samples: int = 2,
    accuracy: float = 0.8,
) -> None:
    """Honest workers, some who paste a sample that nobody conditions on, and some idle ones with three answers each."""
    rng = np.random.default_rng(3)
    K = len(classes)
    truth = rng.integers(0, K, tasks)

    def noisy(labels: np.ndarray, right: float) -> np.ndarray:
        return np.where(rng.random(tasks) < right, labels, rng.integers(0, K, tasks))

    bases = [noisy(truth, 0.7) for _ in models or ("unknown",)]
    writes = [noisy(bases[w % len(bases)], 0.93) if w < pasted else noisy(truth, accuracy) for w in range(workers)]
    rows = [
        {"task": f"t{t} {NASTY}", "worker": f"w{w:02d} {NASTY}", "label": classes[writes[w][t]]}
        for t in range(tasks)
        for w in rng.permutation(workers)[:per_task]
    ]
    rows += [
        {"task": f"t{t} {NASTY}", "worker": f"idle{w}", "label": classes[truth[t]]}
        for w in range(idle)
        for t in range(3)
    ]
    pl.DataFrame(rows).write_csv(folder / f"answers {'<b>'}.csv")
    labels = [
        {"task": f"t{t} {NASTY}", "model": model, "sample": s, "label": classes[label]}
        for model, base in zip(models, bases, strict=False)
        for s in range(samples)
        for t, label in enumerate(noisy(base, 0.93))
    ]
    if labels:
        pl.DataFrame(labels).write_csv(folder / "llm.csv")


@pytest.fixture(scope="session")
def make_audit(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a finished audit: ``make_audit(params={...}, workers=..., pasted=...)`` gives its folder."""

    def make(params: dict[str, Any] | None = None, **crowd: Any) -> Path:
        folder = tmp_path_factory.mktemp("crowd")
        write_crowd(folder, **crowd)
        inputs = {"answers": str(folder / "answers <b>.csv")}
        if (folder / "llm.csv").exists():
            inputs["llm"] = str(folder / "llm.csv")
        recipe = Recipe(method="peers", inputs=inputs, params={"n_bootstrap": 40, **(params or {})})
        run = Run.start(folder / "run", recipe, command="tamis peers answers.csv", clock=tick)
        audit(run, engine=get_engine("inline"))
        return folder / "run"

    return make


@pytest.fixture(scope="session")
def full(make_audit: Make) -> Path:
    """Two models with two samples each, three workers who paste, four idle ones."""
    return make_audit(idle=4)


@pytest.fixture(scope="session")
def without_llm(make_audit: Make) -> Path:
    return make_audit(models=())


@pytest.fixture(scope="session")
def one_sample(make_audit: Make) -> Path:
    return make_audit(samples=1)


@pytest.fixture(scope="session")
def many_classes(make_audit: Make) -> Path:
    return make_audit(classes=[f"c{i}" for i in range(12)], models=("big",), tasks=300)


@pytest.fixture(scope="session")
def paired(make_audit: Make) -> Path:
    return make_audit({"rule": "paired"}, pasted=2)


@pytest.fixture(scope="session")
def nobody_flagged(make_audit: Make) -> Path:
    return make_audit(pasted=0, accuracy=0.97)


@pytest.fixture(scope="session")
def one_flagged(make_audit: Make) -> Path:
    return make_audit(pasted=1, accuracy=0.93, models=("big",))


@pytest.fixture(scope="session")
def many_undecided(make_audit: Make) -> Path:
    return make_audit(idle=30, models=("big",))


@pytest.fixture(scope="session")
def by_majority(make_audit: Make) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consensus, "MOST_BYTES", 0)
        return make_audit(models=("big",))


@pytest.fixture(scope="session")
def as_published(make_audit: Make) -> Path:
    return make_audit({"fidelity": "paper"}, models=("big",))


@pytest.fixture(scope="session")
def ordered(make_audit: Make) -> Path:
    return make_audit({"ordinal": True, "guard": 0.2}, models=("big",))


@pytest.fixture(scope="session")
def mostly_pasted(make_audit: Make) -> Path:
    return make_audit(pasted=12, models=("big",))


WORLDS = (
    "full", "without_llm", "one_sample", "many_classes", "paired", "nobody_flagged", "one_flagged", "many_undecided",
    "by_majority", "as_published", "ordered", "mostly_pasted",
)  # fmt: skip


@pytest.fixture(params=WORLDS)
def any_run(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


def findings_of(folder: Path) -> Found:
    return read_findings(Run.open(folder), "decide")


@cache
def page(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def plain(html: str) -> str:
    words = re.sub(r"<svg.*?</svg>", " ", html.split("</style>")[-1], flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", words)))


def part(html: str, anchor: str) -> str:
    return html.split(f'<section id="{anchor}"')[1].split("</section>")[0]


def cells(row: str) -> list[str]:
    return [plain(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL)]


def rows_under(html: str, caption: str) -> list[list[str]]:
    """Cells of the body rows of the table whose caption begins so."""
    [table] = [t for t in re.findall(r"<table.*?</table>", html, flags=re.DOTALL)
               if plain(t.split("<caption>")[1]).strip().startswith(caption)]  # fmt: skip
    return [cells(row) for row in re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], flags=re.DOTALL)]


def figures(html: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)


def dots(svg: str, colour: str) -> list[tuple[float, float]]:
    """Places of the circles of a colour, inside the plot."""
    found = re.findall(rf'<path d="([^"]*h0)" stroke="{re.escape(colour)}"', svg)
    return [(float(x), float(y)) for path in found for x, y in re.findall(r"M(-?[\d.]+),(-?[\d.]+)h0", path)]


def write_over(folder: Path, target: Path, found: Found) -> Path:
    """Copy of a run with other findings."""
    shutil.copytree(folder, target)
    [path] = target.glob("steps/*-decide/findings.json")
    path.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    return target


def test_sections_answer_the_questions_in_order(full: Path) -> None:
    parts = section(full)
    assert (parts[0].nav, parts[0].title) == ("", "Audit of answers <b>.csv")
    assert [each.anchor for each in parts[1:]] == HEADINGS


def test_every_page_is_escaped_labelled_and_without_gaps(any_run: Path) -> None:
    html = page(any_run)
    body = html.split("</style>")[1]
    assert "<script" not in html
    assert "<b>.csv" not in html
    assert not re.search(r"\b(nan|None|Undefined|inf)\b", plain(html))
    assert "http" not in body
    assert body.count("<table") == body.count("<caption>")
    assert figures(html)
    for figure in figures(html):
        root = ET.fromstring(figure)
        assert root.get("role") == "img"
        assert len(str(root.get("aria-label"))) > 40
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', figure)) <= COLOURS
    assert body.count("<figcaption>") == body.count("<figure>") == len(figures(html))


def test_no_worker_is_called_names(any_run: Path) -> None:
    text = plain(page(any_run))
    assert not re.search(r"\b(cheat\w*|fraud\w*|bots?|liars?|spammers?|guilty|dishonest)\b", text, flags=re.IGNORECASE)
    assert "A score is evidence about answers, never proof about a person" in text
    assert "never a basis for withholding pay" in text


def test_ethics_stand_above_all_numbers(full: Path) -> None:
    lead = section(full)[0].html
    assert lead.index("summary") < lead.index("never proof about a person") < lead.index('class="figures"')


def test_page_is_the_same_twice(full: Path) -> None:
    assert page(full) == write_report(full).read_text(encoding="utf-8")


def test_counts_of_states_are_those_of_the_findings(any_run: Path) -> None:
    found, html = findings_of(any_run), page(any_run)
    table = {row[0]: row[1] for row in rows_under(part(html, "what-was-done"), "Workers by recommended action")}
    assert table == {state: str(n) for state, n in found["states"].items()}
    lead = dict(re.findall(r'<dt>([^<]*)<span.*?<dd class="number">([^<]*)</dd>', html, flags=re.DOTALL))
    assert lead["answers"] == f"{found['crowd']['answers']:,}"
    assert lead["workers scored"] == str(measured_count(found))
    assert lead["undecided"] == str(found["states"]["undecided"])
    assert lead["flagged"] == ("–" if found["threshold"] is None else str(flagged_count(found)))
    assert lead["consensus labels changed"] == str(found["tasks"]["changed"])


def test_what_could_not_be_used_is_counted(full: Path, tmp_path: Path) -> None:
    found = copy.deepcopy(findings_of(full))
    found["crowd"].update(rejected=3, missing=4, duplicates=5, conflicting=2, lone_tasks=6)
    found["crowd"]["rejects"] = [[f"a{NASTY}.csv", 7, f"no task {NASTY}"], ["a.csv", None, "no worker"]]
    html = page(write_over(full, tmp_path / "run", found))
    table = rows_under(html, "What could not be used")
    assert [row[1] for row in table] == ["3", "4", "5", "6", "4"]
    assert "2 had another label" in table[2][2]
    assert "<script" not in html
    assert rows_under(html, "Where they are")[1] == ["a.csv", "–", "no worker"]


def test_classes_and_models_are_those_of_the_findings(full: Path) -> None:
    found, html = findings_of(full), page(full)
    classes = rows_under(html, "Answers of the crowd in each class")
    assert [int(row[1].replace(",", "")) for row in classes] == found["crowd"]["class_counts"]
    models = rows_under(html, "Conditioned on is the first sample")
    for row, model in zip(models, found["llm"], strict=True):
        assert row[1:3] == [str(model["samples"]), f"{model['labelled']} of {found['crowd']['tasks']}"]
        assert row[3].startswith(f"{100 * model['again'][0]:.0f} % ({100 * model['again'][1]:.0f} %")
        assert row[4].startswith(f"{100 * model['consensus'][0]:.0f} % ({100 * model['consensus'][1]:.0f} %")


def test_worker_tables_hold_every_worker_of_the_findings_flagged_first(full: Path) -> None:
    found, html = findings_of(full), page(full)
    n = flagged_count(found)
    flagged = rows_under(html, f"{n} flagged workers")
    others = rows_under(html, "Workers that are not flagged")
    assert n == 3
    assert len(others) == len(found["table"]) - n
    for row, known in zip(flagged + others, found["table"], strict=True):
        assert row[1] == known["action"]
        assert row[2] == (f"{known['score']:.3f} ({known['low']:.3f} to {known['high']:.3f})".replace("-", "−"))
        assert f"{known['ca']:.3f} ± {known['ca_se']:.3f}".replace("-", "−") in row
    assert "within what pasted answers would reach" in plain(part(html, "workers"))
    assert "above what most pasted answers would reach" in plain(part(html, "workers"))


def test_related_measures_carry_intervals_and_a_warning(full: Path) -> None:
    found, html = findings_of(full), page(full)
    table = rows_under(html, "Rank correlation over workers")
    assert len(table) == len(found["related"]) == 5
    for (_, rho), known in zip(table, found["related"], strict=True):
        assert rho == f"{known['rho'][0]:.2f} ({known['rho'][1]:.2f} to {known['rho'][2]:.2f})".replace("-", "−")
    text = plain(html)
    assert "Likeness to an LLM is no detector" in text
    assert "AUC of 0.11" in text
    assert "with 0.36" in text
    assert "Conditioning costs power" in text


def test_references_and_threshold_are_those_of_the_findings(full: Path) -> None:
    found, html = findings_of(full), page(full)
    table = rows_under(html, "Virtual LLM workers, one in the place")
    assert [row[1] for row in table] == [str(each["n"]) for each in found["references"]]
    assert [row[2] for row in table] == [f"{each['deciles'][4]:.3f}" for each in found["references"]]
    assert [row[-1] == "yes" for row in table] == [
        each["model"] == found["threshold"]["model"] for each in found["references"]
    ]
    assert f"at or below {threshold_words(found)}, which 90 % of the virtual workers" in plain(html)


def test_false_alarms_are_printed_with_their_bounds(full: Path, tmp_path: Path) -> None:
    found = copy.deepcopy(findings_of(full))
    found["false_alarms"] = {"share": [0.0212, 0.0188, 0.1457], "expected": 1.016}
    text = plain(page(write_over(full, tmp_path / "run", found)))
    assert "between 1.9 % and 14.6 % would be flagged (bounds of a model; its estimate, 2.1 %, was mostly" in text
    assert "about 1.0 of the 3 flagged" in text
    assert "not a confidence interval" in text
    assert "the quantile rule flagged 15 % to 36 % of the workers whose answers were left as they were" in text


def test_every_worker_kept_from_the_estimate_leaves_a_bound_only(full: Path, tmp_path: Path) -> None:
    found = copy.deepcopy(findings_of(full))
    found["false_alarms"] = {"share": [None, None, 0.3], "expected": 0.0}
    text = plain(page(write_over(full, tmp_path / "run", found)))
    assert "not estimated: no worker was kept from whom it could be learned" in text


def test_tasks_worth_collecting_are_those_of_the_findings(full: Path) -> None:
    found, html = findings_of(full), page(full)
    worth = [row for row in found["tasks"]["recollect"] if row["value"] >= 0.0005]
    table = rows_under(html, f"{len(worth)} tasks of the {found['tasks']['lose']}")
    assert worth
    for row, known in zip(table, worth, strict=True):
        assert row[1] == f"{known['n_before']} → {known['n_after']}"
        assert row[-1] == f"{known['value']:.3f}"
        assert row[2:4] == [
            f"{known[f'label_{when}']} {known[f'confidence_{when}']:.2f}" for when in ("before", "after")
        ]
    changed = [row for row in worth if row["label_after"] != row["label_before"]]
    assert part(html, "what-happens-next").count("<strong>") == len(changed)


def test_evidence_is_printed_with_intervals(full: Path) -> None:
    html = page(full)
    table = {row[0]: row[1:] for row in rows_under(html, "All answers beside those")}
    rows = pl.read_parquet(full / "evidence.parquet").to_dicts()
    assert list(table) == [row["metric"] for row in rows]
    alpha = rows[-1]
    assert table["Krippendorff's alpha"][:2] == [
        f"{alpha['before']:.3f}", f"{alpha['after']:.3f} ({alpha['low']:.3f} to {alpha['high']:.3f})"
    ]  # fmt: skip
    assert table["share of measured workers flagged"][0] == "–"
    assert "do not prove that labels are right" in plain(html)


def test_without_llm_only_a_ranking_is_left(without_llm: Path) -> None:
    html = page(without_llm)
    text = plain(html)
    assert "✕ No LLM to compare with" in text
    assert "scores are plain agreement, which pasted answers can raise" in text
    assert "There are no usable LLM labels to condition on" in text
    assert "correlated agreement (CA)" not in [row[0] for row in rows_under(html, "Rank correlation")]
    assert "virtual LLM workers, 10 %" not in text
    assert "agreement with peers beyond chance" in figures(html)[0]
    assert "stroke-dasharray" not in figures(html)[0]
    assert "No worker was kept by decision" in text


def test_one_sample_decides_nothing(one_sample: Path) -> None:
    html = page(one_sample)
    text = plain(html)
    assert "▲ No threshold" in text
    assert "there is no second sample of an LLM to compare with" in text
    assert "12 with nothing to compare with" in text
    assert rows_under(html, "Conditioned on is the first sample")[0][3] == "one sample"
    assert "Reason of all: not decided: there is no second sample of an LLM" in text
    assert "stroke-dasharray" not in figures(html)[0]
    assert "Virtual LLM workers, one" not in text


def test_too_many_classes_have_no_matrices(many_classes: Path) -> None:
    html = page(many_classes)
    assert "12 classes in 12 strata are too many for a picture" in plain(html)
    assert len(figures(html)) == 2  # the ladder and the curve
    assert len(rows_under(html, "Answers of the crowd in each class")) == 12


def test_paired_rule_says_so_and_marks_no_place_on_the_curve(paired: Path) -> None:
    html = page(paired)
    text = plain(html)
    assert "less than 1.645 standard errors above that of the virtual LLM worker" in text
    assert "standard errors above pasted answers in the same places" in text
    assert "it is known for the quantile rule only" in text
    assert "the paired rule flagged 26 % to 62 % of the workers whose answers were left as they were" in text
    assert "flagged at or below" not in html
    assert flagged_count(findings_of(paired)) > 0
    assert 'stroke-dasharray="5,4"' not in figures(html)[-1]


def test_nobody_flagged(nobody_flagged: Path) -> None:
    html = page(nobody_flagged)
    text = plain(html)
    assert flagged_count(findings_of(nobody_flagged)) == 0
    assert "That is no proof that nobody pastes" in text
    assert "No task loses an answer" in text
    assert "both columns describe the same answers" in text
    assert len(rows_under(html, "The 10 workers with the lowest scores")) == 10
    assert len(rows_under(html, "Continued")) == 2
    assert dots(figures(html)[0], "var(--accent)") == []


def test_one_flagged(one_flagged: Path) -> None:
    text = plain(page(one_flagged))
    assert flagged_count(findings_of(one_flagged)) == 1
    assert "1 worker is within reach of pasted LLM answers" in text
    assert "answers by the flagged worker" in text
    assert "of the one flagged" in text
    assert "1 flagged worker." in text


def test_many_undecided_are_a_third_state(many_undecided: Path) -> None:
    html = page(many_undecided)
    text = plain(html)
    assert "30 undecided" in text
    assert "A third state, and no accusation: 30 with fewer than 30 scored answers" in text
    assert "12 of them gave enough to be scored" in text
    assert len(dots(figures(html)[0], "var(--accent)")) + len(dots(figures(html)[0], "var(--muted)")) == 12


def test_majority_vote_has_neither_skill_nor_value(by_majority: Path) -> None:
    found, html = findings_of(by_majority), page(by_majority)
    text = plain(html)
    assert found["aggregation"] == "majority vote"
    assert "Dawid-Skene, not known here" in text
    assert "it needs a Dawid-Skene model, which did not fit in memory" in text
    assert "The value of one more answer is not known here" in text
    table = rows_under(html, f"{len(found['tasks']['recollect'])} tasks of the {found['tasks']['lose']}")
    assert len(table[0]) == 4


def test_published_estimator_has_no_false_alarms(as_published: Path) -> None:
    assert "the random penalty of the released code has no exact expectation" in plain(page(as_published))


def test_ordered_classes_explain_their_fractions(ordered: Path) -> None:
    text = plain(page(ordered))
    assert "Classes are ordered here" in text
    assert "0 marks differences too small for a sign" in text


def test_crowd_that_mostly_pastes_is_doubted_as_a_whole(mostly_pasted: Path) -> None:
    found, html = findings_of(mostly_pasted), page(mostly_pasted)
    text = plain(html)
    assert flagged_count(found) == 11
    assert "▲ More than half of the scored workers are flagged" in text
    assert "The estimate rests on 1 worker not flagged" in text
    assert f"{found['tasks']['uncovered']} of them would have none left" in text
    assert "6 → 0" in text
    assert "no answer left" in text


def test_ordinary_crowd_has_no_doubt_in_the_lead(full: Path) -> None:
    assert section(full)[0].html.count('class="banner') == 1


def test_warnings_are_shown(one_sample: Path) -> None:
    html = part(page(one_sample), "what-came-in")
    assert "<li>big has one sample, so no threshold comes from it" in html


def test_run_without_evidence_is_refused_with_advice(full: Path, tmp_path: Path) -> None:
    folder = write_over(full, tmp_path / "run", findings_of(full))
    (folder / "evidence.parquet").unlink()
    with pytest.raises(RunStateError, match=r"no evidence\.parquet.*tamis resume"):
        section(folder)
