"""Rating through an endpoint beside the bare ``openai`` client: rows a second, CPU a call, and what the ledger costs.

``python bench/bench_rating.py [--rows 10000] [--block 1000] [--quick] [--json PATH]``

The toy endpoint runs in a process of its own, answers after 50 ms and shares the cores with the client. Both sides send
the same requests, 64 at once, block by block in turn, so that both meet the same load of the machine; each block opens
new connections. The bare client gets its request bodies ready made and reads the content of each answer: once as its
readme shows it, and once through its ``post`` without its models, which is the higher ceiling. tamis words its
requests, looks into an empty cache, checks the answers and commits them, and finds its concurrency anew in each block,
which costs a real run a fraction of a second once. ``tamis rate`` on all rows follows, as a process, imports included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tables import Report, at_least, at_most, begin, parser, reported

import tamis
from tamis.curate.rating import RatingLimits, RatingSettings, Rubric
from tamis.curate.rating.assignment import Assignment, assign
from tamis.curate.rating.collecting import gather, rating_keys
from tamis.curate.rating.spending import RaterSpending, Spending
from tamis.data import Table
from tamis.engine import get_engine
from tamis.models.calls import Call, Policy
from tamis.models.dispatch import collect
from tamis.models.judging import Attempt, JudgePrompt, Reply
from tamis.models.pricing import PriceTable
from tamis.models.response_cache import ResponseCache

POOL = Path(__file__).resolve().parents[1] / "examples" / "dolly.jsonl"
LATENCY, CONCURRENCY = 0.05, 64
MIN_RATIO, MAX_LEDGER_MS = 0.8, 0.3


@dataclass(frozen=True)
class Server:
    """The toy endpoint as a process, and its log of what it served."""

    url: str
    log: Path

    def served(self) -> int:
        """Chat requests answered so far."""
        return self.log.read_bytes().count(b"\n")


@contextmanager
def serving(folder: Path) -> Any:
    log = folder / "served.jsonl"
    command = [sys.executable, "-m", "tamis.toy.endpoint", "--latency", str(LATENCY), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(process.stdout.readline().split()[-1], log)
        finally:
            process.kill()


class TimedCache(ResponseCache):
    """A cache that adds up the seconds spent in it."""

    read = written = 0.0

    def get(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Replies by key."""
        start = time.perf_counter()
        try:
            return super().get(keys)
        finally:
            self.read += time.perf_counter() - start

    def put(self, replies: Iterable[tuple[str, Reply]], *, run: str) -> None:
        """Store replies in one transaction."""
        start = time.perf_counter()
        super().put(replies, run=run)
        self.written += time.perf_counter() - start


@dataclass
class Side:
    """Blocks of one side: rows, wall and CPU seconds of this process."""

    name: str
    rows: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    rates: list[float] = field(default_factory=list)

    @contextmanager
    def block(self, rows: int) -> Any:
        """Add what is done inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        spent = time.perf_counter() - wall
        self.rows, self.seconds, self.cpu = self.rows + rows, self.seconds + spent, self.cpu + time.process_time() - cpu
        self.rates.append(rows / spent)

    @property
    def rate(self) -> float:
        """Rows a second over all blocks."""
        return self.rows / self.seconds

    def row(self) -> dict[str, Any]:
        """Line of the table."""
        return {
            "side": self.name,
            "rows": self.rows,
            "rows/s": round(self.rate, 1),
            "of the ideal": self.rate * LATENCY / CONCURRENCY,
            "worst block": round(min(self.rates), 1),
            "best block": round(max(self.rates), 1),
            "CPU ms a call": 1000 * self.cpu / self.rows,
        }


def records(rows: int) -> list[dict[str, Any]]:
    """Dolly rows, over and over, told apart by a number."""
    given = [json.loads(line) for line in POOL.read_text(encoding="utf-8").splitlines()]
    made = []
    for i in range(rows):
        row = given[i % len(given)]
        answer = f"{row['output']}\n(no. {i}) [[quality {i % 10 + 1}]]"
        made.append({"id": f"r{i:05d}", "instruction": row["instruction"], "input": row["input"], "output": answer})
    return made


async def bare(url: str, bodies: list[dict[str, Any]], *, raw: bool) -> list[str]:
    """Send the bodies with the client, through its models or without them, and return the contents."""
    import httpx2
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    turns = asyncio.Semaphore(CONCURRENCY)
    client = AsyncOpenAI(base_url=url, api_key="none", http_client=DefaultAsyncHttpxClient(trust_env=False))

    async def ask(body: dict[str, Any]) -> str:
        async with turns:
            if raw:
                response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
                return str(json.loads(response.content)["choices"][0]["message"]["content"])
            answer = await client.chat.completions.create(**body)
            return answer.choices[0].message.content or ""

    async with client:
        return await asyncio.gather(*map(ask, bodies))


def in_turns(task: Assignment, url: str, block: int, cache: TimedCache, folder: Path) -> list[Side]:
    """Run all sides over all rows, block by block; every row must get the same answer from each."""
    client, raw, ours = Side("bare openai client"), Side("bare, without models"), Side("tamis gather")
    (rater,), account = task.raters, Spending(task.prices)
    for start in range(0, len(task.prompts), block):
        prompts = task.prompts[start : start + block]
        bodies = [rater.judge.request(prompt, sample=0) for prompt in prompts]  # type: ignore[union-attr]
        if not start:  # imports and the server's first steps
            asyncio.run(bare(url, bodies[:CONCURRENCY], raw=False))
        with client.block(len(prompts)):
            contents = asyncio.run(bare(url, bodies, raw=False))
        with raw.block(len(prompts)):
            raw_contents = asyncio.run(bare(url, bodies, raw=True))
        with ours.block(len(prompts)):
            found = gather(
                rater, prompts, overall=task.rubric.overall, cache=cache, run_id="bench", engine=get_engine("inline"),
                limits=task.limits, spending=RaterSpending(account, None, task.settings.max_tokens), folder=folder,
                seed=0,
            )  # fmt: skip
        said = [found.replies[key].text for keys in found.keys for key in keys or ()]
        if not said == contents == raw_contents:
            raise SystemExit("the sides got different answers")
    return [client, raw, ours]


def ledger(report: Report, task: Assignment, cache: TimedCache) -> None:
    """What keying, looking up, committing and replaying cost a row; the first two on the rows that were asked."""
    rows, looked_up = len(task.prompts), cache.read
    start = time.perf_counter()
    keys = [key for keys in rating_keys(task.raters[0], task.prompts) for key in keys or ()]
    keyed = time.perf_counter() - start
    cache.read = 0.0
    held = cache.get(keys)
    if len(held) != rows:
        raise SystemExit(f"{rows - len(held)} replies are not in the cache")
    ms = {
        name: 1000 * seconds / rows
        for name, seconds in {
            "key": keyed, "look up (absent)": looked_up, "commit": cache.written, "replay": cache.read,
        }.items()
    }  # fmt: skip
    report.table("Ledger, ms a row", [ms])
    asked = sum(value for name, value in ms.items() if name != "replay")
    note = f"key {ms['key']:.3f}, look up {ms['look up (absent)']:.3f}, commit {ms['commit']:.3f} ms"
    report.bars += [
        at_most("rating: ledger of a row that is asked", asked, MAX_LEDGER_MS, unit=" ms", note=note),
        at_most("rating: ledger of a row that is replayed", ms["key"] + ms["replay"], MAX_LEDGER_MS, unit=" ms"),
    ]


class InstantJudge:
    """A chat judge that answers without waiting."""

    name, fingerprint, price_key = "instant", "instant", None
    answer = Attempt(Reply("answered", '{"overall": 7}', 100, 5))

    async def attempt(self, prompt: JudgePrompt, *, sample: int, number: int) -> Attempt:
        """Answer."""
        return self.answer

    async def close(self) -> None:
        """Nothing is open."""

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], bool]:
        """Nothing is read."""
        return [0] * len(texts), False


def dispatcher(report: Report, prompt: JudgePrompt, rows: int) -> None:
    """Time of the dispatcher alone, with nothing to wait for and nothing to write."""
    calls = [Call(str(i), prompt, i) for i in range(rows)]
    kept: dict[str, Reply] = {}
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        asyncio.run(
            collect(
                InstantJudge(), calls, accept=lambda *_: True, keep=kept.update, rng=random.Random(0),
                policy=Policy(concurrency=CONCURRENCY),
            )
        )  # fmt: skip
        spent.append(time.perf_counter() - start)
    if len(kept) != rows:
        raise SystemExit(f"the dispatcher kept {len(kept)} of {rows} replies")
    report.bars.append(
        reported(
            "rating: dispatcher alone, a call", f"{1e6 * sorted(spent)[1] / rows:.0f} us",
            "an instant judge, median of 3 runs",
        )
    )  # fmt: skip


def tamis_seconds(environment: dict[str, str], *arguments: Any) -> tuple[float, dict[str, Any]]:
    """Wall seconds of one command, and its summary."""
    command = [sys.executable, "-m", "tamis", *map(str, arguments), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def whole_job(report: Report, server: Server, pool: Path, rows: int, folder: Path) -> None:
    """Run ``tamis rate`` with an empty cache, resume the finished run, and replay it where no step is taken over."""
    environment = {**os.environ, "TAMIS_CACHE": str(folder / "cache")}
    rate = ["rate", pool, "--rater", f"openai:toy@{server.url}", "--concurrency", CONCURRENCY, "--embedder", "none"]
    found, collected = {}, 0.0
    for what, command in {
        "first run": [*rate, "--out", folder / "one" / "run"],
        "resume of the finished run": ["resume", folder / "one" / "run"],
        "another run, from the cache": [*rate, "--out", folder / "two" / "run"],
    }.items():
        before = server.served()
        seconds, summary = tamis_seconds(environment, *command)
        measured = summary["raters"]["toy"]["status"].get("ok", 0)
        found[what] = {"what": what, "seconds": seconds, "rows ok": measured, "calls": server.served() - before}
        if what == "first run":
            events = map(json.loads, (folder / "one" / "run" / "ledger.jsonl").read_text().splitlines())
            collected = next(event["seconds"] for event in events if event["event"] == "rated")
    report.table(f"tamis rate, {rows} rows, a process each", list(found.values()))
    first, resumed, replayed = found.values()
    note = f"{first['seconds']:.1f} s in all, {collected:.1f} s of them collecting replies; no embedder, no matrix"
    report.bars += [
        reported(f"rating: tamis rate end to end, {rows} rows", f"{rows / first['seconds']:.0f} rows/s", note),
        at_most("rating: calls of a finished run of the same rows", resumed["calls"] + replayed["calls"], 0, digits=0),
        reported(
            f"rating: resume of a finished run of {rows} rows",
            f"{resumed['seconds']:.1f} s, {resumed['calls']} calls",
            f"another run of the same rows replays the cache in {replayed['seconds']:.1f} s, {replayed['calls']} calls",
        ),
    ]


def measure(report: Report, options: argparse.Namespace, folder: Path) -> None:
    given = records(options.rows)
    pool = folder / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    with serving(folder) as server:
        task = assign(
            Table.from_records(given), RatingSettings((f"openai:toy@{server.url}",), embedder=None),
            RatingLimits(concurrency=CONCURRENCY), rubric=Rubric.default(), prices=PriceTable.default(), seed=0,
        )  # fmt: skip
        with TimedCache(folder / "replies.sqlite") as cache:
            client, raw, ours = sides = in_turns(task, server.url, options.block, cache, folder)
            report.table("Rows a second, block by block in turn", [side.row() for side in sides])
            note = f"{ours.rate:.0f} and {client.rate:.0f} rows/s; the ideal is {CONCURRENCY / LATENCY:.0f}"
            each = ", ".join(f"{1000 * side.cpu / side.rows:.2f}" for side in (ours, client, raw))
            report.bars += [
                at_least(
                    "rating: tamis / bare client, rows/s", ours.rate / client.rate, MIN_RATIO, unit="x", note=note
                ),
                reported("rating: tamis / bare client without models, rows/s", f"{ours.rate / raw.rate:.2f}x"),
                reported("rating: CPU a call of tamis, bare client, bare without models", f"{each} ms"),
            ]
            ledger(report, task, cache)
        dispatcher(report, next(filter(None, task.prompts)), options.rows)
        whole_job(report, server, pool, options.rows, folder)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=10_000)
    made.add_argument("--block", type=int, default=1_000)
    options = made.parse_args()
    if options.quick:
        options.rows, options.block = min(options.rows, 1_200), min(options.block, 600)
    report = begin("rating", options)
    report.say(f"tamis {tamis.__version__}, {options.rows} rows in blocks of {options.block}")
    with tempfile.TemporaryDirectory() as folder:
        measure(report, options, Path(folder))
    report.finish()


if __name__ == "__main__":
    main()
