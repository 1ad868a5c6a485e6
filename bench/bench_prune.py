"""Layer pruning of SmolLM2: which criterion cuts best, which healing helps most, and what scoring costs.

``python bench/bench_prune.py [--seeds 3] [--steps 100] [--quick] [--json PATH]``

7 of 30 layers go by five criteria; each cut model is healed in three ways on Dolly records and measured on held-out
Dolly records and on WikiText-2 (validation). Three more criteria are cut and measured only, as baselines.
A seed draws the calibration windows, the held-out records and the order of the training. The uncut model, and the uncut
model with the same training of its head and last three layers, are controls.

Scoring: block influence beside a bare forward pass over the same windows, Taylor beside forward and backward.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tables import SHARED_DATA, Report, at_least, at_most, begin, not_judged, parser, reported

from tamis.data import read
from tamis.data.token_rows import TokenRows
from tamis.evidence.resampling import student_interval
from tamis.models.causal_lm import find_model, load, load_own, load_tokenizer
from tamis.models.chat_tokens import encode_chats
from tamis.models.decoder_layers import decoder_layers
from tamis.prune import LayerPruner, LayerScores
from tamis.prune.criteria.angular import angular_block
from tamis.prune.criteria.block_influence import block_influence
from tamis.prune.criteria.leave_one_out import losses_without, sleb
from tamis.prune.criteria.magnitude import layer_magnitude
from tamis.prune.criteria.order import random_scores, reverse_scores
from tamis.prune.criteria.taylor import taylor
from tamis.prune.criteria.windows import calibration_windows
from tamis.prune.layer_ranges import write_ranges
from tamis.prune.surgery.in_memory import cut_network
from tamis.train.loop import train
from tamis.train.masked_lm import MaskedTokens
from tamis.train.settings import TrainSettings
from tamis.train.token_losses import held_out_loss
from tamis.train.tuning import merge, prepare

DOLLY = Path(__file__).resolve().parents[1] / "examples" / "dolly.jsonl"
DROP, WINDOWS, LENGTH = 7, 10, 128
MAX_OVER_BARE = 1.5
PROTECTED = {"ppl": (4, 2), "taylor": (4, 2), "magnitude": (4, 2), "sleb": (1, 1)}
RECOVERIES: dict[str, dict[str, Any]] = {
    "none": {},
    "head+3 at 1e-5": {"tune": "last:3", "learning_rate": 1e-5},
    "LoRA at 1e-5": {"tune": "lora", "learning_rate": 1e-5},
    "LoRA at 1e-4": {"tune": "lora", "learning_rate": 1e-4},
}
CRITERIA = ("reverse", "bi", "angular", "ppl", "taylor")
ONLY_CUT = ("random", "magnitude", "sleb")
SLEB_WINDOWS = 4


@dataclass(frozen=True)
class Split:
    """Records of one seed."""

    train: TokenRows
    held: dict[str, TokenRows]
    windows: Any


def pieces_of_wikitext(tokenizer: Any, n: int) -> TokenRows:
    """The first n pieces of 256 tokens."""
    text = gzip.decompress(next((SHARED_DATA / "lm_text").glob("*iki*.txt.gz")).read_bytes()).decode()
    ids = np.asarray(tokenizer(text[: 2500 * n], verbose=False)["input_ids"], dtype=np.int32)
    pieces = [ids[i : i + 256] for i in range(0, min(len(ids), 256 * n), 256)]
    return TokenRows.from_lists([f"w{i}" for i in range(len(pieces))], pieces, [np.arange(len(p)) > 0 for p in pieces])


def split_of(rows: TokenRows, wikitext: TokenRows, seed: int, *, n_held: int, n_train: int) -> Split:
    """Training records, held-out ones and calibration windows of one seed."""
    order = np.random.default_rng(seed).permutation(len(rows))
    held, rest = rows.take(np.sort(order[:n_held])), rows.take(np.sort(order[n_held:]))
    documents = [rest.ids[a:b].tolist() for a, b in zip(rest.offsets[:-1], rest.offsets[1:], strict=True)]
    return Split(
        rest.take(range(min(n_train, len(rest)))),
        {"Dolly": held, "WikiText-2": wikitext},
        calibration_windows(documents, n=WINDOWS, seq_len=LENGTH, seed=seed),
    )


def dropped_by(criterion: str, network: Any, windows: Any, seed: int) -> tuple[int, ...]:
    """Layers that a criterion drops."""
    layers = decoder_layers(network).layers
    n = len(layers)
    first, last = PROTECTED.get(criterion, (0, 0))
    pruner = LayerPruner(n_drop=DROP, protect_first=first, protect_last=last)
    if criterion == "sleb":
        found = sleb(network, windows[:SLEB_WINDOWS], DROP, allowed=~pruner.protection(n))
        return tuple(sorted(found.order))
    if criterion == "angular":
        start = angular_block(network, windows, DROP, allowed=np.ones(n, dtype=bool)).start
        return tuple(range(start, start + DROP))
    values = {
        "reverse": lambda: reverse_scores(n),
        "bi": lambda: block_influence(network, windows),
        "ppl": lambda: losses_without(network, windows, range(n)).sum(axis=1),
        "taylor": lambda: taylor(network, windows),
        "random": lambda: random_scores(n, seed),
        "magnitude": lambda: np.array([layer_magnitude(each.named_parameters()) for each in layers]),
    }[criterion]()
    return pruner.fit(LayerScores.of(values, criterion=criterion)).dropped_


def perplexities(network: Any, held: dict[str, TokenRows]) -> dict[str, float]:
    """Perplexity of each held-out text, all tokens."""
    found = {}
    for name, rows in held.items():
        nats, counts = held_out_loss(network, rows, np.ones(len(rows.ids), dtype=bool))
        found[name] = float(np.exp(nats.sum() / counts.sum()))
    return found


def healed(network: Any, rows: TokenRows, how: dict[str, Any], *, steps: int, batch_rows: int, seed: int) -> Any:
    """Train a network on the answers of some records."""
    settings = TrainSettings(
        **how, steps=steps, batch_rows=batch_rows, lora_rank=8, lora_alpha=16, lora_dropout=0.05, clip=1.0, warmup=0.1,
        seed=seed,
    )  # fmt: skip
    prepared, _ = prepare(network, settings)
    train(prepared, MaskedTokens(rows, rows.response, pad_id=0), settings)
    return merge(prepared).eval()


def one_seed(split: Split, options: Any, seed: int) -> list[dict[str, Any]]:
    """Perplexity of every cut and healing, and of the controls."""
    model = find_model("smollm2")
    found: list[dict[str, Any]] = []

    def row(criterion: str, recovery: str, dropped: tuple[int, ...], network: Any) -> None:
        found.append({"seed": seed, "criterion": criterion, "recovery": recovery, "dropped": write_ranges(dropped),
                      **perplexities(network, split.held)})  # fmt: skip
        said = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in found[-1].values())
        print("  " + ", ".join(said), flush=True)

    def tuned(network: Any, recovery: str) -> Any:
        how = RECOVERIES[recovery]
        return healed(network, split.train, how, steps=options.steps, batch_rows=options.batch_rows, seed=seed)

    dense = load_own(model)
    row("dense", "none", (), dense)
    cuts = {each: dropped_by(each, dense, split.windows, seed) for each in (*CRITERIA, *ONLY_CUT)}
    row("dense", "head+3 at 1e-5", (), tuned(dense, "head+3 at 1e-5"))
    for criterion, dropped in cuts.items():
        for recovery in RECOVERIES if criterion in CRITERIA else ("none",):
            own = load_own(model)
            kept = tuple(i for i in range(own.config.num_hidden_layers) if i not in dropped)
            network = cut_network(own, kept)
            row(criterion, recovery, dropped, network if recovery == "none" else tuned(network, recovery))
    return found


def summarised(found: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Geometric mean of the perplexity over seeds, and the paired factor that healing changes it by."""
    arms = list(dict.fromkeys((row["criterion"], row["recovery"]) for row in found))
    by = {(row["criterion"], row["recovery"], row["seed"]): row[text] for row in found}
    seeds = sorted({row["seed"] for row in found})
    rows = []
    for criterion, recovery in arms:
        mean, low, high = np.exp(student_interval([np.log(by[criterion, recovery, s]) for s in seeds]))
        row: dict[str, Any] = {"criterion": criterion, "recovery": recovery, "perplexity": float(mean),
                               "low": float(low), "high": float(high)}  # fmt: skip
        if recovery != "none":
            gaps = [np.log(by[criterion, recovery, s] / by[criterion, "none", s]) for s in seeds]
            row |= dict(
                zip(("factor", "factor low", "factor high"), map(float, np.exp(student_interval(gaps))), strict=True)
            )
        rows.append(row)
    return rows


def scoring_cost(report: Report, *, quick: bool) -> None:
    """Seconds of block influence and Taylor beside the passes that they cannot do without."""
    import torch

    network, _ = load(find_model("smollm2"), dtype="float32", device="cpu")
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 40_000, (2 if quick else WINDOWS, LENGTH))
    ids = torch.from_numpy(windows)
    layers = [weights for name, weights in network.named_parameters() if ".layers." in name and "weight" in name]

    def forward() -> None:
        with torch.inference_mode():
            network(input_ids=ids, use_cache=False)

    def backward() -> None:
        network.requires_grad_(False)
        for weights in layers:
            weights.requires_grad_(True)
        loss = network(input_ids=ids, labels=ids, use_cache=False).loss
        torch.autograd.grad(loss, layers)
        network.requires_grad_(False)

    ways: dict[str, Callable[[], Any]] = {
        "forward": forward, "bi": lambda: block_influence(network, windows), "forward and backward": backward,
        "taylor": lambda: taylor(network, windows),
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(2 if quick else 4):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                times[name].append(time.perf_counter() - started)
    best = {name: min(each) for name, each in times.items()}
    report.table("Seconds to score 10 windows of 128 tokens", [{"what": k, "seconds": v} for k, v in best.items()])
    bars = [
        at_most("prune: block influence / a bare forward pass", best["bi"] / best["forward"], MAX_OVER_BARE, unit="x"),
        at_most(
            "prune: Taylor / forward and backward",
            best["taylor"] / best["forward and backward"],
            MAX_OVER_BARE,
            unit="x",
        ),
    ]
    report.bars += [not_judged(bar, "two windows") for bar in bars] if quick else bars


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--steps", type=int, default=100)
    made.add_argument("--batch-rows", type=int, default=1)
    options = made.parse_args()
    report = begin("prune", options)
    if not (SHARED_DATA / "lm_text").is_dir():
        report.skip(f"no texts in {SHARED_DATA / 'lm_text'}")
        return
    if options.quick:
        options.seeds, options.steps = 1, 2
    scoring_cost(report, quick=options.quick)
    tokenizer = load_tokenizer(find_model("smollm2"))
    table = read(DOLLY)
    rows = encode_chats(table.chats(), table.ids, tokenizer, max_length=LENGTH + 32).rows
    wikitext = pieces_of_wikitext(tokenizer, 2 if options.quick else 8)
    found = []
    for seed in range(options.seeds):
        split = split_of(rows, wikitext, seed, n_held=6 if options.quick else 20, n_train=16 if options.quick else 2000)
        found += one_seed(split, options, seed)
    report.table("Each model", found)
    by = {(row["seed"], row["criterion"], row["recovery"]): row for row in found}
    gains = [row[text] < by[seed, criterion, "none"][text] for (seed, criterion, recovery), row in by.items()
             for text in ("Dolly", "WikiText-2") if recovery != "none" and criterion != "dense"]  # fmt: skip
    report.bars.append(at_least("prune: share of healings that lower the perplexity", float(np.mean(gains)), 1))
    for text in ("Dolly", "WikiText-2"):
        table_ = summarised(found, text)
        report.table(f"Perplexity on {text}: geometric mean over seeds, and factor of healing, paired", table_)
        cut = [row for row in table_ if row["criterion"] != "dense"]
        best = min(cut, key=lambda row: row["perplexity"])
        report.bars.append(
            reported(
                f"prune: best of all on {text}", f"{best['criterion']}, {best['recovery']}: {best['perplexity']:.1f}"
            )
        )
        worst = max((row["factor high"] for row in cut if "factor" in row), default=float("nan"))
        bar = at_most(f"prune: factor of any healing on {text}, upper end", worst, 1.0, unit="x")
        report.bars.append(not_judged(bar, "one seed") if options.seeds < 2 else bar)
    report.finish()


if __name__ == "__main__":
    main()
