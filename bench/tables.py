"""Bars, tables and result files that the benchmarks share.

A *bar* is a promise with a target. It is met, MISSED, or only reported (no target, or not judged at this size); a
missed bar is printed like any other, with the reason where one is known.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Bar:
    """One promise and what was measured.

    Attributes
    ----------
    name : str
    target : str
        In words, ``"-"`` if the figure is only reported.
    measured : str
        With its unit.
    met : bool or None
        None if the figure is only reported.
    note : str
        Why it was missed, or how it was measured.
    """

    name: str
    target: str
    measured: str
    met: bool | None
    note: str = ""

    @property
    def outcome(self) -> str:
        """``met``, ``MISSED`` or ``reported``."""
        return {True: "met", False: "MISSED", None: "reported"}[self.met]


def at_most(name: str, value: float, limit: float, *, unit: str = "", digits: int = 3, note: str = "") -> Bar:
    """Return the bar ``value <= limit``."""
    return Bar(name, f"<= {limit:g}{unit}", f"{value:.{digits}f}{unit}", value <= limit, note)


def at_least(name: str, value: float, limit: float, *, unit: str = "", digits: int = 3, note: str = "") -> Bar:
    """Return the bar ``value >= limit``."""
    return Bar(name, f">= {limit:g}{unit}", f"{value:.{digits}f}{unit}", value >= limit, note)


def reported(name: str, measured: str, note: str = "") -> Bar:
    """Return a figure without a target."""
    return Bar(name, "-", measured, None, note)


def not_judged(bar: Bar, reason: str) -> Bar:
    """Return the figure with its target and without a verdict."""
    return replace(bar, met=None, note=f"not judged: {reason}. {bar.note}".strip())


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as aligned text, one column a key of the first row; floats with three decimals."""
    if not rows:
        return "(no rows)"
    names = list(rows[0])
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    left = [any(isinstance(row.get(name), str) for row in rows) for name in names]
    lines = [
        "  ".join(
            text.ljust(width) if flush else text.rjust(width)
            for text, width, flush in zip(line, widths, left, strict=True)
        )
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in [lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def bars_text(bars: Sequence[Bar]) -> str:
    """Return the final table: bar, target, measured, met / MISSED / reported."""
    rows = [{"bar": b.name, "target": b.target, "measured": b.measured, "outcome": b.outcome} for b in bars]
    notes = [f"  {b.name}: {b.note}" for b in bars if b.note]
    return "\n".join([table_text(rows), *(["", "Notes", *notes] if notes else [])])


def machine() -> dict[str, Any]:
    """Return what timings depend on. The load is the one-minute average: above the number of cores, timings suffer."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


@dataclass
class Report:
    """Collects what one benchmark finds, prints it, and writes it as JSON.

    Attributes
    ----------
    name : str
        Also the name of the result file.
    options : argparse.Namespace
        With ``quick`` and ``json``, see :func:`parser`.
    """

    name: str
    options: argparse.Namespace
    bars: list[Bar] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    machine: dict[str, Any] = field(default_factory=machine)

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        """Print a table and keep it."""
        self.tables[title] = rows
        print(f"\n{title}\n{table_text(rows)}", flush=True)

    def say(self, sentence: str) -> None:
        """Print a sentence and keep it."""
        self.words.append(sentence)
        print(sentence, flush=True)

    def finish(self) -> None:
        """Print the bars and write the result file, if one was asked for."""
        print(f"\n{bars_text(self.bars)}" if self.bars else "", flush=True)
        self._write({"bars": [asdict(bar) for bar in self.bars], "tables": self.tables, "words": self.words})

    def skip(self, reason: str) -> None:
        """Say why nothing was measured; the result file says so as well."""
        print(f"skipped: {self.name}: {reason}", flush=True)
        self._write({"skipped": reason, "bars": [], "tables": {}, "words": []})

    def _write(self, found: dict[str, Any]) -> None:
        if self.options.json is None:
            return
        settings = {k: v for k, v in vars(self.options).items() if k != "json"}
        seconds = round(time.perf_counter() - self.started, 1)
        result = {"name": self.name, "settings": settings, "machine": self.machine, "seconds": seconds, **found}
        self.options.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_rounded(result), indent=1, ensure_ascii=False)
        self.options.json.write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Numbers to six digits, so that result files stay small and readable."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes: ``--quick`` and ``--json PATH``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="small sizes: shows that it works, proves nothing")
    made.add_argument("--json", type=Path, help="also write tables and bars to this file")
    return made


def begin(name: str, options: argparse.Namespace) -> Report:
    """Print the machine and start a report."""
    report = Report(name, options)
    print(name + ": " + ", ".join(f"{key} {value}" for key, value in report.machine.items()), flush=True)
    return report
