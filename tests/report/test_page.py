from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from tamis.errors import RunStateError
from tamis.recipe import Recipe
from tamis.report import write_report
from tamis.runs import Run

VOID = {"meta", "br", "img", "input", "link", "hr", "wbr"}


class Outline(HTMLParser):
    """Checks nesting while it collects what the tests ask for."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.tables: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append(False)
        if tag == "caption":
            self.tables[-1] = True
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def outline(usable_page: str) -> Outline:
    parser = Outline()
    parser.feed(usable_page)
    parser.close()
    return parser


def test_elements_are_balanced_and_ids_unique(outline: Outline) -> None:
    assert outline.stack == []
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_sections_follow_the_questions_of_a_reader(usable_page: str) -> None:
    headings = re.findall(r"<h2 [^>]*>(.*?)</h2>", usable_page)
    assert headings == [
        "What came in", "What we distrust", "What was done", "Did it help?", "What this cannot show", "What it cost",
        "How to do it again",
    ]  # fmt: skip


def test_headings_skip_no_level_and_links_lead_somewhere(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    ids = {attrs.get("id") for _, attrs in outline.tags}
    links = [attrs["href"] for tag, attrs in outline.tags if tag == "a"]
    assert len(links) >= 7
    assert all(link is not None and link[0] == "#" and link[1:] in ids for link in links)


def test_tables_have_captions_and_figures_have_words(outline: Outline) -> None:
    assert outline.tables
    assert all(outline.tables)
    drawings = [attrs for tag, attrs in outline.tags if tag == "svg"]
    assert len(drawings) == 6
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in drawings)
    assert sum(tag == "figcaption" for tag, _ in outline.tags) == len(drawings)


def test_nothing_is_loaded_and_nothing_runs(outline: Outline, usable_page: str) -> None:
    tags = {tag for tag, _ in outline.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for _, attrs in outline.tags:
        assert not any(name.startswith("on") for name in attrs)
        assert not {"src", "srcset", "xlink:href", "action", "poster"} & attrs.keys()
    assert "@import" not in usable_page
    assert "url(" not in usable_page
    assert re.findall(r"https?://", usable_page) == ["http://"] * usable_page.count("http://evil.example")


def test_user_text_is_shown_and_never_interpreted(usable_page: str, outline: Outline) -> None:
    assert "<script" not in usable_page
    assert "&lt;script&gt;" in usable_page
    assert "<b>bold" not in usable_page
    text = "".join(outline.text)
    assert "<script>alert('x')</script>" in text
    assert "<b>bold</b>" in text
    assert "tamis curate 'pool.jsonl' --budget 30 # <go>" in text


def test_light_dark_and_print(usable_page: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in usable_page
    assert "@media print" in usable_page
    drawings = re.findall(r"<svg.*?</svg>", usable_page, flags=re.DOTALL)
    for drawing in drawings:  # a fixed colour would vanish on one of the two backgrounds
        assert re.findall(r'(?:fill|stroke)="(?!var\(|none)[^"]*"', drawing) == []


def test_every_colour_variable_is_defined_for_both_themes(usable_page: str) -> None:
    light, dark = usable_page.split("@media (prefers-color-scheme: dark)", 1)
    dark = dark.split("}", 1)[0]
    used = set(re.findall(r"var\((--[a-z-]+)\)", usable_page)) - {"--tone", "--tone-page"}
    assert used
    for name in used:
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_same_run_same_bytes_without_the_pool(usable_run: Path, usable_page: str, tmp_path: Path) -> None:
    again = tmp_path / usable_run.name
    shutil.copytree(usable_run, again)
    for name in ("selected.jsonl", "rejects.parquet"):
        (again / name).unlink(missing_ok=True)
    recipe = (again / "recipe.yaml").read_text(encoding="utf-8")
    assert str(usable_run.parent / "pool.jsonl") in recipe
    path = write_report(again)
    assert path == again / "report.html"
    assert path.read_text(encoding="utf-8") == usable_page
    assert [p.name for p in again.iterdir() if p.name.startswith(".tmp")] == []


def test_command_recipe_digests_and_versions_are_there(usable_page: str, usable_run: Path) -> None:
    manifest = Run.open(usable_run).manifest
    for digest in [*manifest["identity"]["inputs"].values(), *manifest["steps"].values()]:
        assert digest in usable_page
    assert f"<td>{manifest['packages']['polars']}</td>" in usable_page
    assert "budget: 30" in usable_page


def test_incomplete_run_says_so(usable_page: str) -> None:
    assert "▲ Incomplete" in usable_page


def test_unfinished_run_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    recipe = Recipe(method="ds2", inputs={"pool": str(tmp_path / "pool.jsonl")}, params={"budget": 1})
    run = Run.start(tmp_path / "run", recipe, command="tamis curate")
    run.close()
    with pytest.raises(RunStateError, match=r"not finished .*`tamis resume .*run` goes on"):
        write_report(tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_finished_run_without_findings_is_refused_with_advice(usable_run: Path, tmp_path: Path) -> None:
    shutil.copytree(usable_run, tmp_path / "run")
    for path in (tmp_path / "run" / "steps").glob("*/findings.json"):
        path.unlink()
    with pytest.raises(RunStateError, match=r"no findings.*tamis resume"):
        write_report(tmp_path / "run")


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunStateError, match="not a run directory"):
        write_report(tmp_path)


def test_neither_torch_nor_scikit_learn_is_imported(usable_run: Path) -> None:
    code = (
        "import sys; from tamis.report import write_report; write_report(sys.argv[1]); "
        "print(sorted({'torch', 'sklearn', 'transformers', 'faiss'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(usable_run)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
