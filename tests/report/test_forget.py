"""The report of forgetting, drawn from runs of the real job on three small clouds of points."""

from __future__ import annotations

import copy
import json
import re
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.engine import get_engine
from tamis.errors import RunStateError
from tamis.forget.comparison import AVERAGE, GAP, RUNTIME
from tamis.forget.job import forget
from tamis.models.classifier import save_classifier
from tamis.recipe import Recipe
from tamis.registry import JOBS
from tamis.report.findings import read_evidence, read_findings
from tamis.report.forget import section
from tamis.report.forget_charts import confidence_histograms, stop_curve
from tamis.report.forget_commands import commands
from tamis.report.forget_dials import Dial, dials
from tamis.report.forget_doubts import CAUTION, CLOSENESS, doubts
from tamis.report.forget_numbers import SHOWN, changes, estimate_of, evidence_table, is_cut_off, kept_step, written
from tamis.report.forget_sentences import MEANING, stop_sentence, summary
from tamis.report.page import assemble
from tamis.report.provenance import again, cost
from tamis.runs import Run

NASTY = "<script>alert('x')<!--"
CLASSES = [NASTY, "dog", "owl & co"]
HEADINGS = ["what-came-in", "closeness", "what-was-done", "did-it-help", "limits"]
COLOURS = {"none", "transparent"} | {f"var(--{name})" for name in ("ink", "muted", "rule", "accent", "quiet", "page")}
COLOURS |= {f"var(--{name})" for name in ("heat", "on-light-cell", "on-full-cell")}
FORBIDDEN = re.compile(r"\b(erase[sd]?|erasing|remove[sd]?|removing|deleted?|deleting|gone)\b", re.IGNORECASE)
ANEW = {"retrain": True, "retrain_epochs": 10.0}
TRAINING = {"epochs": 40.0, "learning_rate": 0.1, "batch_rows": 16}
WORLDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "share": (("test", "held_out"), {"share": 0.2, "seeds": 2, "group": "site", **ANEW}),
    "class": (("test", "held_out"), {"classes": [NASTY], "group": "kind", "label": "kind", **ANEW}),
    "bare": ((), {"classes": [NASTY]}),
    "alone": (("test",), {"where": f"site={NASTY}", "seeds": 2, "group": "site"}),
    "untested": (("held_out",), {"share": 0.2, "method": "ugradsl", **ANEW}),
    "ids": (("forget", "test"), {"method": "fine-tune"}),
    "beside": (
        ("test", "held_out"),
        {"share": 0.2, "seeds": 2, "sweep": True, "compare": ["ascent", "random-labels"], **ANEW},
    ),
}
COMPARED = ("share", "class", "beside")
FIGURES = {"beside": 6}
"""Of the pages that have more than the usual three: the gap against time, and two of the sweep."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of three classes and two sites, and a network that was trained on them."""
    import torch

    from tamis.models.small_networks import mlp
    from tamis.train.labelled import CrossEntropy, LabelledExamples
    from tamis.train.loop import train
    from tamis.train.settings import TrainSettings

    folder = tmp_path_factory.mktemp("clouds")
    rng = np.random.default_rng(0)
    middles = 2.5 * rng.normal(size=(3, 4))
    for part, n in {"data": 120, "test": 60, "held_out": 45}.items():
        label = np.arange(n) % 3
        x = (middles[label] + 2.0 * rng.normal(size=(n, 4))).astype(np.float32)
        frame = pl.DataFrame(x, schema=[f"x{i}" for i in range(4)]).insert_column(
            0, pl.Series("kind", [CLASSES[i] for i in label])
        )
        frame = frame.with_columns(
            id=pl.Series([f"{part}-{i}" for i in range(n)]), site=pl.Series([(NASTY, "south")[i % 2] for i in range(n)])
        )
        frame.write_csv(folder / f"{part}.csv")
        if part == "data":
            learned = LabelledExamples.of(x, label)
    (folder / "forget.txt").write_text("data-3\ndata-4\ndata-8\n", encoding="utf-8")
    torch.manual_seed(0)
    network = mlp([4, 32, 3])
    settings = {**TRAINING, "optimizer": "sgd", "momentum": 0.9, "schedule": "cosine", "precision": "float32"}
    train(network, CrossEntropy(learned), TrainSettings(**settings, micro_tokens=16, tune="full", seed=0))
    description = {"network": "mlp", "arguments": {"sizes": [4, 32, 3]}, "features": [f"x{i}" for i in range(4)],
                   "classes": CLASSES, "training": TRAINING}  # fmt: skip
    save_classifier(network, folder / "<i>net", description)
    return folder


@pytest.fixture(scope="module")
def finished(home: Path) -> Callable[[str], Run]:
    """Give the finished run of one of the worlds; each is made once."""

    @cache
    def finished(name: str) -> Run:
        roles, params = WORLDS[name]
        files = {"forget": "forget.txt"}
        inputs = {role: str(home / files.get(role, f"{role}.csv")) for role in ("data", *roles)}
        given = {"model": str(home / "<i>net"), "label": "kind", "id_column": "id", "epochs": 2, "batch_rows": 16}
        recipe = Recipe(method="forget", inputs=inputs, params={**given, **params}, seed=0)
        with Run.start(home / "runs" / name, recipe, command="tamis forget net") as run:
            forget(run, engine=get_engine("inline"))
        return Run.open(home / "runs" / name)

    return finished


@pytest.fixture(scope="module")
def shown(finished: Callable[[str], Run]) -> Callable[[str], str]:
    """Give the page of one of the worlds."""

    @cache
    def shown(name: str) -> str:
        run = finished(name)
        return assemble(run, JOBS["forget"], [*section(run.folder), cost(run), again(run)])

    return shown


@pytest.fixture(scope="module")
def told(finished: Callable[[str], Run]) -> Callable[[str], tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Give findings and evidence of one of the worlds."""
    return lambda name: (read_findings(finished(name), "decide"), read_evidence(finished(name)))


def plain(html: str) -> str:
    words = re.sub(r"<svg.*?</svg>", " ", html.split("</style>")[-1], flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", words)))


def rows_under(html: str, caption: str) -> list[list[str]]:
    [table] = [t for t in re.findall(r"<table.*?</table>", html, flags=re.DOTALL)
               if "<caption>" in t and plain(t.split("<caption>")[1]).strip().startswith(caption)]  # fmt: skip
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
    assert re.findall(r'<li><a href="#([^"]*)"', html) == [*HEADINGS, "cost", "again"]
    assert "<script" not in html
    assert "<i>net" not in html
    assert "&lt;i&gt;net: " in html
    assert not re.search(r"\b(nan|None|Undefined|inf|null)\b", plain(html))
    assert not re.search(r"https?:|src=|url\(", inside)
    assert inside.count("<table") == inside.count("<caption>")
    assert inside.count("<figcaption>") == inside.count("<figure")
    assert len(figures(html)) == FIGURES.get(name, 3)
    for figure in figures(html):
        root = ET.fromstring(figure)
        assert root.get("role") == "img"
        assert len(str(root.get("aria-label"))) > 40
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', figure)) <= COLOURS
        assert not {"nan", "null", "undefined"} & {word.lower() for word in words_in(figure)}


@pytest.mark.parametrize("name", WORLDS)
def test_no_page_says_that_examples_left_no_trace(shown: Callable[[str], str], name: str) -> None:
    html = shown(name)
    labels = " ".join(re.findall(r'aria-label="([^"]*)"', html))
    assert FORBIDDEN.findall(plain(html) + labels) == []
    text = plain(html)
    assert CLOSENESS in text
    assert CAUTION[0] in text
    assert "not high or low" in text
    assert "no trace is left: closeness on averages is no certificate" in text


@pytest.mark.parametrize("name", WORLDS)
def test_all_evidence_is_shown_with_its_numbers(
    shown: Callable[[str], str], told: Callable[[str], Any], name: str
) -> None:
    html = shown(name)
    _, evidence = told(name)
    rows = rows_under(html, "Before and after")
    assert len(rows) == len(evidence)
    for line, row in zip(rows, evidence, strict=True):
        assert line[0] == row["metric"]
        digits = 2 if row["metric"] in (GAP, AVERAGE) else 1
        if row["metric"] != RUNTIME:
            assert line[4].startswith(f"{row['after']:.{digits}f} (")
            assert line[3] == f"{row['before']:.{digits}f}"
        assert line[5] == f"{row['n']:,}"
    dialled = words_in(figures(html)[0])
    for row in evidence:
        if row["metric"] in SHOWN and row["group"] == "edited":
            [said] = [words for words in dialled if words.startswith("original") and written(row) in words
                      and f"original {row['before']:.1f} " in words][:1]  # fmt: skip
            assert f"edited {row['after']:.1f} (" in said


def test_other_ways_stand_beside_it(shown: Callable[[str], str], told: Callable[[str], Any]) -> None:
    html, (found, evidence) = shown("beside"), told("beside")
    rows = rows_under(html, "Average gap in points")
    assert [line[0] for line in rows] == ["original", "ugradsl+ this run", "ascent", "random-labels", "trained anew"]
    for line, group in zip(rows[1:4], ("edited", "ascent", "random-labels"), strict=True):
        gap, took = (next(row for row in evidence if (row["metric"], row["group"]) == (metric, group))
                     for metric in (AVERAGE, RUNTIME))  # fmt: skip
        assert line[1:3] == [written(gap), written(took)]
    assert rows[2][3] == found["beside"]["ascent"]["reasons"][0]
    each = rows_under(html, "Percent, with 95 % intervals over 2 seeds")
    assert [len(line) for line in each] == [6] * 5
    assert each[0][1] == f"{found['metrics']['original']['UA'][0]:.1f}"
    drawn = words_in(figures(html)[1])
    assert {"ugradsl+", "ascent", "random-labels", "original"} <= set(drawn)
    assert found["relearning"].keys() == {"edited", "retrained"}


def test_heat_maps_of_a_sweep_have_a_cell_for_each_point(
    shown: Callable[[str], str], told: Callable[[str], Any]
) -> None:
    rows = told("beside")[0]["sweep"]
    drawn = words_in(figures(shown("beside"))[4])
    assert {"p = 0.9", "p = 0.97", "alpha", "learning rate"} <= set(drawn)
    written_cells = ["✕" if row["distance"] is None else f"{row['distance']:.2f}" for row in rows]
    assert sorted(word for word in drawn if word in set(written_cells)) == sorted(written_cells)


def test_several_seeds_beside_a_model_trained_anew(shown: Callable[[str], str], told: Callable[[str], Any]) -> None:
    found, evidence = told("share")
    html, (first, *_) = shown("share"), figures(shown("share"))
    text = plain(html)
    gap = next(row for row in evidence if row["metric"] == AVERAGE)
    assert f"it now stands {written(gap)} points from a model trained anew" in text
    assert f"where the original stands {gap['before']:.2f} away" in text
    assert "24 of 120 examples (a random share of 20 %)" in text
    assert text.count("95 % intervals over 2 seeds") == 2
    assert "how much seeds differ" in text
    assert first.count('fill="var(--quiet)"') == 5  # a band for each dial
    assert len([words for words in words_in(first) if "trained anew" in words]) == 5
    assert rows_under(html, "Distance to the model trained anew")[-1][3] == written(gap)
    assert len(rows_under(html, "What was counted of each model")) == 4
    assert [line[0] for line in rows_under(html, "Each seed")] == ["0", "1"]
    assert found["method"]["reasons"][1] in text
    groups = changes(found, evidence, "group ", [])
    assert [row["name"] for row in groups] == [NASTY, "south"]
    assert "Group (site)" in text
    assert "that of the first seed" in text


def test_a_class_is_marked_and_its_fall_is_no_loss(shown: Callable[[str], str], told: Callable[[str], Any]) -> None:
    found, evidence = told("class")
    html = shown("class")
    text = plain(html)
    assert f"40 of 120 examples (class {NASTY})" in text
    assert text.count("to be forgotten 20 ") == 2  # by class and by group, which are alike here
    assert "No other example of the same class stays" in text
    assert "intervals over examples, of one seed" in text
    assert "With one seed the intervals say" in text
    own = next(row for row in evidence_table(found, evidence) if row["of"] == f"class {NASTY}")
    assert own["better"] == "neither"
    took = next(row for row in evidence if row["metric"] == RUNTIME)
    assert written(took) == f"{100 * took['after']:.0f} % (no interval)"
    assert "one run of each, no interval" in text


def test_without_proof_it_says_so_and_draws_no_target(shown: Callable[[str], str], told: Callable[[str], Any]) -> None:
    html, (found, evidence) = shown("bare"), told("bare")
    text = plain(html)
    dial = figures(html)[0]
    assert "▲ No proof of forgetting" in text
    assert "▲ Nothing told it when to stop" in text
    assert "How close that is to a model trained anew was not measured." in text
    assert "there is no mark to come close to" in text
    assert words_in(dial).count("not measured") == 3
    assert words_in(dial).count("not measured: there are no test examples") == 3
    assert 'fill="var(--quiet)"' not in dial
    assert "trained anew" not in "".join(words_in(dial))
    assert "TA, MIA and AUC there are no test examples not measured" in text  # name, reason, number
    assert "The gap" not in text
    absent = changes(found, evidence, "class ", ["0"])[-1]
    assert absent == {"name": NASTY, "marked": True, "n": 0, "before": "not measured", "after": "not measured",
                      "change": None}  # fmt: skip
    assert re.search(r"--test TEST.csv .* --seeds 3 .* --retrain", text)
    assert kept_step(found) is None
    assert "The weights are those of the last step." in stop_sentence(found)


def test_attacks_without_a_model_trained_anew(shown: Callable[[str], str], told: Callable[[str], Any]) -> None:
    html, (found, evidence) = shown("alone"), told("alone")
    text = plain(html)
    dial = figures(html)[0]
    assert found["request"]["kind"] == "sample"
    assert "not measured" not in words_in(dial)
    assert 'fill="var(--quiet)"' not in dial
    assert "No model was trained anew" in text
    assert "no test examples" not in text
    assert f"the rows with site={NASTY}" in text
    assert [row["marked"] for row in changes(found, evidence, "group ", [NASTY])] == [True, False]
    assert f"{NASTY} to be forgotten" in text


def test_a_model_trained_anew_without_test_examples(shown: Callable[[str], str]) -> None:
    text = plain(shown("untested"))
    dial = figures(shown("untested"))[0]
    assert dial.count('fill="var(--quiet)"') == 2
    assert words_in(dial).count("not measured") == 3
    assert "An average gap needs TA and MIA, and so test examples" in text
    assert "ascent on smoothed labels beside descent; epochs over" in text  # not "the same"
    assert "No model was trained anew" not in text.split("What this run")[0]


def test_a_baseline_has_no_privacy_of_labels(shown: Callable[[str], str]) -> None:
    text = plain(shown("ids"))
    assert "those that forget.txt names" in text
    assert "Privacy of labels" not in text
    assert "--method ugradsl+" in text
    share = plain(shown("share"))
    assert "Privacy of labels" in share
    assert "no certificate of unlearning" in share
    assert "ε = " in share


@pytest.mark.parametrize("name", COMPARED)
def test_the_kept_step_is_the_closest_to_the_aim_or_the_end_of_a_stage(told: Callable[[str], Any], name: str) -> None:
    found, _ = told(name)
    asked = {point["step"]: point["held_out"] for point in found["curve"] if point.get("held_out") is not None}
    repair = {point["step"] for point in found["curve"] if point.get("repair")}
    ends = [max(steps) for steps in (asked.keys() - repair, asked.keys() & repair) if steps]
    kept = kept_step(found)
    assert asked
    if kept is not None:
        assert kept in ends if repair else asked[kept] == min(asked.values())
        assert ("before the repair" in stop_sentence(found)) == (kept in repair)


def test_every_command_is_one_that_the_command_line_takes(finished: Callable[[str], Run], home: Path) -> None:
    for name in ("share", "class", "alone", "ids"):
        run = finished(name)
        for words, command in commands(run, read_findings(run, "decide")):
            arguments = shlex.split(command)[1:]
            if "verify" in arguments:
                result = CliRunner().invoke(app, arguments, catch_exceptions=False)
                assert "holds" in result.stdout
            else:
                result = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False)
            assert result.exit_code == 0, (words, command, result.output)


def test_the_certificate_and_how_to_check_it(shown: Callable[[str], str], finished: Callable[[str], Run]) -> None:
    text = plain(shown("share"))
    said = json.loads((finished("share").folder / "certificate" / "certificate.json").read_text(encoding="utf-8"))
    rows = rows_under(shown("share"), "Fingerprints of the model")
    assert rows == [["before", said["model"]["before"]], ["after", said["model"]["after"]]]
    assert f"tamis forget verify {finished('share').folder}" in text
    assert "It names the ids of the examples to be forgotten" in text


def test_a_model_that_fell_apart_stops_the_reader(told: Callable[[str], Any]) -> None:
    found, evidence = (copy.deepcopy(each) for each in told("share"))
    stays = next(row for row in evidence if row["metric"] == "RA" and row["group"] == "edited")
    stays.update(before=99.0, after=60.0, low=50.0, high=70.0)
    found["method"]["diverged"][0] = True
    average = next(row for row in evidence if row["metric"] == AVERAGE)
    average.update(before=1.0, after=9.0, low=5.0, high=13.0)
    found["metrics"]["edited"]["UA"] = [60.0, 62.0]
    said = {heading: (level, first) for level, heading, first, _ in doubts(found, evidence)}
    assert said["Training diverged"][0] == "stop"
    assert said["The model lost what stays"] == (
        "stop", "Accuracy on what stays went from 99.0 to 60.0 (50.0 to 70.0) %. Of a model that fell apart, UA and "
        "MIA say nothing.")  # fmt: skip
    assert said["Further from a model trained anew than before"][0] == "stop"
    assert said["It forgets more than a model that never saw the examples"][0] == "caution"
    average.update(before=9.0, after=5.0, low=0.0, high=13.0)
    assert "It may be no closer than before" in [heading for _, heading, *_ in doubts(found, evidence)]
    assert "last evaluation before" in stop_sentence(found)


def test_a_model_that_did_not_change_is_called_so(told: Callable[[str], Any]) -> None:
    found, evidence = (copy.deepcopy(each) for each in told("share"))
    found["unchanged"] = True
    assert "The model is as it came in" in [heading for _, heading, *_ in doubts(found, evidence)]
    assert kept_step(found) is None
    assert "no step came closer to the aim" in stop_sentence(found)


def test_an_undone_repair_is_called_so(told: Callable[[str], Any]) -> None:
    found = copy.deepcopy(told("class")[0])
    found["curve"] = [
        {"step": 1, "loss": 1.0, "held_out": 9.0},
        {"step": 2, "loss": 1.0, "held_out": 9.5, "repair": True},
    ]
    found["method"]["kept"] = [1]
    assert "step 1, the last before the repair, which was undone: 9.0 points away" in stop_sentence(found)
    found["method"]["kept"] = [2]
    assert "step 2, about as close to the aim as those before the repair" in stop_sentence(found)


def test_intervals_end_where_a_share_ends() -> None:
    row = {"metric": "TA", "group": "edited", "before": 98.0, "after": 99.0, "low": 94.0, "high": 104.0, "n": 9}
    assert estimate_of(row) == (99.0, 94.0, 100.0)
    assert is_cut_off([row])
    assert not is_cut_off([{**row, "high": 100.0}])
    assert written({**row, "metric": RUNTIME, "after": 0.5, "low": -2.0, "high": 3.0}) == "50 % (0 % to 300 %)"


def test_the_summary_is_one_sentence_with_its_numbers(told: Callable[[str], Any]) -> None:
    for name in COMPARED:
        found, evidence = told(name)
        assert len(re.findall(r"[.!?](?:\s|$)", summary(found, evidence))) == 1
        assert "<i>net" in summary(found, evidence)  # the page escapes it


def test_dials_draw_target_ring_and_interval() -> None:
    full = Dial("UA", "words", "numbers", 0.0, (40.0, 30.0, 50.0), (42.0, 41.0, 43.0))
    empty = Dial("TA", MEANING["TA"], "not measured: why")
    svg = dials([full, empty], label="dials of two metrics")
    assert svg.count('fill="var(--quiet)"') == 1
    assert svg.count('stroke="var(--page)"') == 1  # the hollow mark
    assert "not measured" in words_in(svg)
    assert words_in(svg).count("100") == 2
    alone = dials([Dial("UA", "words", "numbers", 0.0, (40.0, None, None))], label="dial without a target")
    assert 'fill="var(--quiet)"' not in alone


def test_histograms_have_a_panel_for_each_model_and_split() -> None:
    counts = {"original": {"forget": [0, 4], "retain": [1, 3]}, "edited": {"forget": [4, 0], "retain": [1, 3]}}
    models = {"original": "original", "edited": "edited", "retrained": "trained anew"}
    splits = {"forget": "to be forgotten: 4", "retain": "stays: 4", "test": "test"}
    svg = confidence_histograms(counts, models, splits, label="histograms")
    assert svg is not None
    assert {"original", "edited", "to be forgotten: 4", "stays: 4"} <= set(words_in(svg))
    assert not {"trained anew", "test"} & set(words_in(svg))
    assert len(re.findall(r'<path d="M[^"]*Z" fill="var\(--accent\)"', svg)) == 3
    assert confidence_histograms({}, models, splits, label="nothing") is None


def test_the_curve_marks_what_was_kept_and_needs_two_steps() -> None:
    curve = [{"step": i, "loss": 1 - i / 1000, "grad_norm": 1.0} for i in range(1, 1200)]
    curve[999]["held_out"], curve[1198]["held_out"] = 100.0, 3.0
    svg = stop_curve(curve, 1000, label="curve")
    assert svg is not None
    assert {"kept: step 1,000", "loss", "gradient norm", "distance (points)", "100"} <= set(words_in(svg))
    assert "repair" not in words_in(svg)
    repaired = stop_curve([*curve[:900], *({**point, "repair": True} for point in curve[900:])], 1000, label="curve")
    assert repaired is not None
    assert "repair" in words_in(repaired)
    bare = stop_curve([{"step": 1, "loss": 1.0, "grad_norm": 1.0}, {"step": 2, "loss": 1.0, "grad_norm": 1.0}], None,
                      label="curve")  # fmt: skip
    assert bare is not None
    assert "distance (points)" not in words_in(bare)
    assert stop_curve(curve[:1], None, label="curve") is None


def test_a_run_without_evidence_is_refused_with_advice(finished: Callable[[str], Run], tmp_path: Path) -> None:
    shutil.copytree(finished("ids").folder, tmp_path / "run")
    (tmp_path / "run" / "evidence.parquet").unlink()
    with pytest.raises(RunStateError, match=r"no evidence\.parquet.*tamis resume"):
        section(tmp_path / "run")


def test_the_body_is_the_same_twice(shown: Callable[[str], str], finished: Callable[[str], Run]) -> None:
    assert all(str(part.html) in shown("ids") for part in section(finished("ids").folder))
