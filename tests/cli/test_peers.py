"""``tamis peers`` and what it says of bad input."""

from __future__ import annotations

import csv
import json

import numpy as np
import polars as pl
import pytest

from tamis.registry import METHODS

N_TASKS = 240


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.fixture
def crowd(tmp_path):
    """14 independent workers, three who paste, one with a single answer; two samples of the LLM."""
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, N_TASKS)
    base = np.where(rng.random(N_TASKS) < 0.65, truth, 1 - truth)
    sample = [np.where(rng.random(N_TASKS) < 0.08, 1 - base, base) for _ in range(3)]
    rows = []
    for worker in range(17):
        at = rng.choice(N_TASKS, 120, replace=False)
        own = np.where(rng.random(120) < 0.85, truth[at], 1 - truth[at])
        rows += [(f"t{t}", f"w{worker:02d}", k) for t, k in zip(at, sample[2][at] if worker < 3 else own, strict=True)]
    rows.append(("t0", "newcomer", 1))
    write_csv(tmp_path / "answers.csv", ("task", "worker", "label"), rows)
    labels = [(f"t{t}", "m", s, sample[s][t]) for s in range(2) for t in range(N_TASKS)]
    write_csv(tmp_path / "llm.csv", ("task", "model", "sample", "label"), labels)
    return tmp_path


@pytest.fixture
def peers(call, crowd):
    """Audit the crowd; options replace the usual ones."""

    def peers(*more, answers="answers.csv", llm="llm.csv", out="run"):
        return call("peers", crowd / answers, *(("--llm", crowd / llm) if llm else ()), "--out", crowd / out, *more)

    return peers


def summary_of(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_it_prints_the_ladder_and_leaves_a_run(peers, crowd):
    result = peers()
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "2,041 answers by 18 workers about 240 tasks, 2 classes; m"
    assert lines[1] == "read as task 'task', worker 'worker', label 'label'"
    assert lines[3].split()[0] in ("w00", "w01", "w02")
    assert "●" in lines[3]
    assert "│" in lines[3]
    assert "threshold" in result.stdout
    assert "never proof about a person" in result.stdout
    names = "selection.parquet answer_selection.parquet consensus.parquet evidence.parquet workers.csv recollect.csv"
    for name in (*names.split(), "selected.csv", "report.html"):
        assert (crowd / "run" / name).exists(), name


def test_the_summary_counts_what_the_files_hold(peers, crowd):
    found = summary_of(peers("--json"))
    workers = pl.read_csv(crowd / "run" / "workers.csv")
    counts = dict(workers.group_by("action").len().iter_rows())
    assert {name: found[name] for name in ("keep", "review", "re-collect", "undecided")} == {
        name: counts.get(None if name == "undecided" else name, 0)
        for name in ("keep", "review", "re-collect", "undecided")
    }
    assert found["undecided"] == 1
    kept = pl.read_csv(crowd / "run" / "selected.csv")
    assert kept.columns == ["task", "worker", "label"]
    assert len(kept) == found["answers_kept"]
    assert set(kept["worker"]) == set(workers.filter(action="keep")["worker"])
    flagged = workers.filter(pl.col("action").is_in(["review", "re-collect"]))["worker"]
    assert set(flagged) >= {"w00", "w01", "w02"}


def test_a_worker_with_one_answer_is_never_flagged(peers, call, crowd):
    peers()
    found = json.loads(call("why", crowd / "run", "newcomer", "--json").stdout)
    assert (found["decision"], found["action"]) == (None, None)
    assert found["reason"].startswith("not enough answers: 0 of 1 could be scored")
    assert "undecided" in call("why", crowd / "run", "new").stdout


def test_why_tells_the_reason_and_the_models(peers, call, crowd, refused):
    peers()
    text = call("why", crowd / "run", "w00").stdout
    assert text.splitlines()[0].startswith("w00: re")
    assert "beyond m:" in text
    refused(call("why", crowd / "run", "w"), "begins several ids")
    refused(call("why", crowd / "run", "nobody"), "has no unit 'nobody'")


def test_plan_status_report_and_diff_know_the_run(peers, call, crowd):
    peers()
    peers("--rule", "paired", out="other")
    assert "18 workers" in call("plan", crowd / "run").stdout
    assert json.loads(call("plan", crowd / "run", "--json").stdout)["models"] == {"m": 2}
    assert "02-decide" in call("status", crowd / "run").stdout
    before = (crowd / "run" / "report.html").read_bytes()
    assert call("report", crowd / "run").exit_code == 0
    assert (crowd / "run" / "report.html").read_bytes() == before
    assert "18 units in both" in call("diff", crowd / "run", crowd / "other").stdout
    assert METHODS["peers"].paper in call("methods").stdout


def test_a_dry_run_scores_nothing(peers, crowd):
    result = peers("--dry-run")
    assert "LLMs     m (2 samples)" in result.stdout
    assert not (crowd / "run").exists()


@pytest.mark.parametrize("layout", ["wide", "peerannot"])
def test_other_layouts_give_the_same_scores_and_come_back_as_they_came(peers, crowd, layout):
    from tamis.data import read_answers, write_answers

    name = {"wide": "wide.csv", "peerannot": "answers.json"}[layout]
    write_answers(read_answers(crowd / "answers.csv"), crowd / name, layout=layout)
    long, other = summary_of(peers("--json")), summary_of(peers("--json", answers=name, out="other"))
    assert other["ladder"] == long["ladder"]
    back = read_answers(other["selected"], layout=layout)
    assert sorted(back.to_long().rows()) == sorted(read_answers(long["selected"]).to_long().rows())


def test_columns_by_other_names(peers, crowd):
    pl.read_csv(crowd / "answers.csv").rename({"task": "q", "worker": "who", "label": "said"}).write_csv(
        crowd / "x.csv"
    )
    found = summary_of(peers("--task", "q", "--worker", "who", "--label", "said", "--json", answers="x.csv"))
    assert found["workers"] == 18


@pytest.mark.parametrize(
    ("option", "word"),
    [(("--min-answers", "1"), "min_answers"), (("--rule", "z"), "'quantile' or 'paired'"),
     (("--quantile", "1"), "(0, 1)"),
     (("--guard", "-1"), "guard"), (("--fidelity", "exact"), "fidelity"), (("--bootstrap", "1"), "n_bootstrap"),
     (("--fidelity", "paper", "--ordinal"), "fidelity='paper'"), (("--seed", "-1"), "seed"),
     (("--duplicates", "all"), "duplicates"), (("--layout", "long", "--task", "nope"), "nope"),
     (("--classes", "0,2"), "'1'"), (("--engine", "spark"), "engine")],
    ids=lambda v: v[0] if isinstance(v, tuple) else None,
)  # fmt: skip
def test_bad_options(peers, refused, option, word):
    refused(peers(*option), word)


def rewrite(crowd, change):
    rows = [line.split(",") for line in (crowd / "answers.csv").read_text().splitlines()]
    write_csv(crowd / "bad.csv", rows[0], change([list(row) for row in rows[1:]]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [row for row in rows if row[1] == "w05"], "answers of one worker ('w05')"),
        (lambda rows: [[*row[:2], "1"] for row in rows], "are '1'; where all answers are equal"),
        (lambda rows: [[f"{row[0]}-{row[1]}", *row[1:]] for row in rows], "No task of"),
        (lambda rows: rows[::9], "has 30 answers (the most is 14)"),
        (lambda _: [], "bad.csv"),
        (lambda rows: [[*row[:2], ""] for row in rows], "no answer"),
        (lambda rows: [[*row[:2], f"c{i}"] for i, row in enumerate(rows)], "1000"),
    ],
    ids=["one worker", "all equal", "one rater a task", "too few", "empty", "no label", "too many classes"],
)
def test_crowds_that_cannot_be_compared(peers, crowd, refused, change, words):
    rewrite(crowd, change)
    refused(peers(answers="bad.csv"), words)


def test_empty_and_missing_files(peers, crowd, refused):
    (crowd / "empty.csv").write_text("")
    refused(peers(answers="empty.csv"), "empty.csv")
    refused(peers(answers="absent.csv"), "There is no file")
    refused(peers(llm="absent.csv"), "absent.csv")
    (crowd / "empty.jsonl").write_text("")
    refused(peers(llm="empty.jsonl"), "empty.jsonl")


def test_mixed_label_types(peers, crowd, refused):
    rows = [{"task": f"t{i % 9}", "worker": f"w{i // 9}", "label": 1 if i % 2 else "cat"} for i in range(90)]
    (crowd / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(peers(answers="mixed.jsonl"), "must be all text, all numbers", "'cat'")


def test_repeated_answers_are_counted_or_refused(peers, crowd, refused):
    rewrite(crowd, lambda rows: [*rows, [*rows[0][:2], "1"], [*rows[0][:2], "0"]])
    found = summary_of(peers("--json", answers="bad.csv"))
    assert any(w.startswith("2 repeated answers") and "1 of them" in w for w in found["warnings"])
    refused(peers("--duplicates", "error", answers="bad.csv", out="other"), "repeat a task and worker")


def test_tasks_with_one_rater_are_not_scored(peers, crowd):
    rewrite(crowd, lambda rows: [*rows, *([f"lone{i}", "w05", "1"] for i in range(7))])
    found = summary_of(peers("--json", answers="bad.csv"))
    assert any(w.startswith("7 of 247 tasks have one rater") for w in found["warnings"])


def test_a_thousand_classes_are_scored_with_a_warning(peers, crowd):
    rng = np.random.default_rng(0)
    rows = [(f"t{t}", f"w{w}", int(t * 25 % 1000 if rng.random() < 0.7 else rng.integers(1000)))
            for w in range(12) for t in range(80)]  # fmt: skip
    write_csv(crowd / "many.csv", ("task", "worker", "label"), rows)
    write_csv(crowd / "m.csv", ("task", "label"), [(f"t{t}", t * 25 % 1000) for t in range(80)])
    found = summary_of(peers("--json", answers="many.csv", llm="m.csv"))
    assert found["classes"] > 200
    assert any("signs are uncertain" in w for w in found["warnings"])
    assert found["undecided"] == 12, "one sample of the LLM: ranked, and not decided"


def test_unknown_llm_labels_count_as_not_given(peers, crowd):
    text = (crowd / "llm.csv").read_text().replace("t0,m,0,0", "t0,m,0,Yes.").replace("t0,m,0,1", "t0,m,0,Yes.")
    (crowd / "llm.csv").write_text(text)
    found = summary_of(peers("--json"))
    assert any("1 LLM labels are none of the crowd's classes, the first 'Yes.'" in w for w in found["warnings"])


def test_llm_labels_of_other_tasks_only_fall_back_to_ca(peers, crowd):
    (crowd / "llm.csv").write_text((crowd / "llm.csv").read_text().replace("\nt", "\nu"))
    found = summary_of(peers("--json"))
    assert any("fall back to plain agreement" in w for w in found["warnings"])
    assert (found["threshold"], found["undecided"], found["measured"]) == (None, 18, 17)
    workers = pl.read_csv(crowd / "run" / "workers.csv")
    assert workers.filter(pl.col("score").is_not_null()).select((pl.col("score") == pl.col("ca")).all()).item()


def test_llm_labels_under_other_class_names_say_so(peers, crowd):
    text = (crowd / "llm.csv").read_text().replace(",0\n", ",no\n").replace(",1\n", ",yes\n")
    (crowd / "llm.csv").write_text(text)
    found = summary_of(peers("--json"))
    assert any("no LLM label is one of the crowd's classes" in w and "'0', '1'" in w for w in found["warnings"])


def test_words_for_nothing_and_variants_of_a_class_are_warned_of(peers, crowd):
    rewrite(crowd, lambda rows: [[*row[:2], "N/A" if i < 30 else row[2]] for i, row in enumerate(rows)])
    assert any("'N/A' (30 answers)" in w for w in summary_of(peers("--json", answers="bad.csv"))["warnings"])
    rewrite(
        crowd,
        lambda rows: [[*row[:2], {"0": "No", "1": "Yes" if i % 2 else "yes"}[row[2]]] for i, row in enumerate(rows)],
    )
    assert any("differ in case only" in w for w in summary_of(peers("--json", answers="bad.csv", out="o"))["warnings"])


def test_a_long_file_under_unknown_names_is_not_read_as_a_matrix(peers, crowd, refused):
    (crowd / "x.csv").write_text((crowd / "answers.csv").read_text().replace("task,worker,label", "task,who,said"))
    refused(peers(answers="x.csv"), "no matrix of tasks x workers", "'who'", "worker=")


def test_a_text_column_of_a_matrix_is_no_worker(peers, crowd, refused):
    from tamis.data import read_answers

    wide = read_answers(crowd / "answers.csv").to_wide()
    wide.with_columns(text=pl.format("text {}", "task")).write_csv(crowd / "wide.csv")
    refused(peers(answers="wide.csv"), "The column 'text'", "no worker's")


def test_semicolons_and_unknown_inputs(peers, call, crowd, refused):
    (crowd / "semi.csv").write_text((crowd / "answers.csv").read_text().replace(",", ";"))
    refused(peers(answers="semi.csv"), "separated by semicolons")
    peers()
    recipe = (crowd / "run" / "recipe.yaml").read_text().replace("  llm:", "  lm:")
    (crowd / "recipe.yaml").write_text(recipe)
    refused(call("run", crowd / "recipe.yaml", "--out", crowd / "other"), "have no 'lm'", "'llm'")


def test_without_an_llm_workers_are_ranked_and_not_decided(peers, crowd):
    found = summary_of(peers("--json", llm=None))
    assert found["models"] == []
    assert found["selected"] is None
    assert found["ladder"][0]["score"] is not None
    assert found["exit_code"] == 0


def test_several_models_in_several_files(peers, crowd):
    second = (crowd / "llm.csv").read_text().replace(",m,", ",n,")
    (crowd / "n.csv").write_text(second)
    found = summary_of(peers("--llm", crowd / "n.csv", "--json"))
    assert found["models"] == ["m", "n"]


def test_the_same_sample_twice_is_refused(peers, crowd, refused):
    refused(peers("--llm", crowd / "llm.csv"), "m")


class TestSimulate:
    def test_it_prints_auc_with_interval_and_writes_the_runs(self, call, crowd):
        options = ["--llm", crowd / "llm.csv", "--runs", 6, "--out", crowd / "runs.csv"]
        text = call("peers", "simulate", crowd / "answers.csv", *options)
        assert text.exit_code == 0, text.stderr
        assert "conditioned score (CA_Z)" in text.stdout
        found = json.loads(call("peers", "simulate", crowd / "answers.csv", *options, "--json").stdout)
        assert found["ca_z"]["low"] < found["ca_z"]["mean"] < found["ca_z"]["high"]
        runs = pl.read_csv(crowd / "runs.csv")
        assert len(runs) == 6
        assert runs["ca_z"].mean() == pytest.approx(found["ca_z"]["mean"])
        assert any("two samples" in note for note in found["notes"])

    def test_the_same_seed_gives_the_same_runs(self, call, crowd):
        told = [
            call("peers", "simulate", crowd / "answers.csv", "--runs", 3, "--json", "--seed", s).stdout
            for s in (1, 1, 2)
        ]
        assert told[0] == told[1] != told[2]

    @pytest.mark.parametrize(
        ("option", "word"),
        [(("--p-llm", "1.5"), "p_llm"), (("--p-llm", "0.6", "--p-random", "0.5"), "sum < 1"), (("--runs", "0"), "runs"),
         (("--accuracy", "7"), "accuracy"), (("--out", "absent/runs.csv"), "absent")],
        ids=lambda v: v[0] if isinstance(v, tuple) else None,
    )  # fmt: skip
    def test_bad_options(self, call, crowd, refused, option, word):
        refused(call("peers", "simulate", crowd / "answers.csv", *option), word)

    def test_one_sample_is_too_few(self, call, crowd, refused):
        lines = [line for line in (crowd / "llm.csv").read_text().splitlines() if ",m,1," not in line]
        (crowd / "one.csv").write_text("\n".join(lines) + "\n")
        refused(call("peers", "simulate", crowd / "answers.csv", "--llm", crowd / "one.csv"), "at least two samples")


class TestFollow:
    def follow(self, call, crowd, *more, answers="grow.csv"):
        return call(
            "peers", "follow", crowd / answers, "--llm", crowd / "llm.csv", "--out", crowd / "f", "--once", *more
        )

    def test_changes_are_told_once_across_sessions(self, call, crowd):
        lines = (crowd / "answers.csv").read_text().splitlines(keepends=True)
        (crowd / "grow.csv").write_text("".join(lines[:1400]))
        first = self.follow(call, crowd)
        assert first.exit_code == 0, first.stderr
        assert "1,399 answers" in first.stdout
        again = self.follow(call, crowd)
        assert len(again.stdout.splitlines()) == 1, "nothing changed, so only the line of counts"
        (crowd / "grow.csv").write_text("".join(lines))
        more = [json.loads(line) for line in self.follow(call, crowd, "--json").stdout.splitlines()]
        assert more
        assert all(row["answers"] == 2041 and row["state"] != row["before"] for row in more)
        table = pl.read_csv(crowd / "f" / "running.csv")
        assert set(table["state"]) <= {"few", "open", "within", "above"}
        told = [json.loads(line) for line in (crowd / "f" / "changes.jsonl").read_text().splitlines()]
        last = {row["worker"]: row["state"] for row in told}
        for worker, state in table.select("worker", "state").iter_rows():
            assert last.get(worker, "few") == state

    def test_a_file_that_is_not_there_yet_is_waited_for(self, call, crowd):
        assert "no answers so far" in self.follow(call, crowd, answers="later.jsonl").stdout

    def test_what_cannot_be_read_is_told_and_a_last_line_counts(self, call, crowd):
        lines = (crowd / "answers.csv").read_text().splitlines()
        (crowd / "grow.csv").write_text("\n".join([*lines[:900], "broken", *lines[900:1000]]))
        found = self.follow(call, crowd)
        assert "999 answers" in found.stdout, "the last line has no line break, and counts"
        assert "1 rows could not be read" in found.stderr
        assert "line 901" in found.stderr

    def test_formats_that_do_not_grow(self, call, crowd, refused):
        refused(self.follow(call, crowd, answers="x.parquet"), "cannot be followed")
        refused(self.follow(call, crowd, "--every", "0"), "every")
