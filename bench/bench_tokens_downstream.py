"""Does a mask of tokens help? Held-out loss after training, for every way of choosing tokens, with staged controls.

``python bench/bench_tokens_downstream.py [--seeds 5] [--quick] [--json PATH]``

A llama of about 5 million parameters is trained from scratch on WikiText-2 (validation) and Shakespeare. It is the base
of all arms. Dolly records are split anew for each seed into warm-up, pool and held-out records. All arms but the staged
ones train on the pool for one epoch under one schedule; the staged ones train on its five slices one after the other,
each with a schedule of its own, so that they are compared with staged controls and not with one schedule.
"""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import SHARED_DATA, begin, parser, reported
from token_worlds import copy_of, small_llama, small_tokenizer, taught

from tamis.curate.tokens import TokenCleaner, self_evolving
from tamis.data import read
from tamis.data.token_rows import TokenRows
from tamis.evidence.resampling import student_interval
from tamis.models.chat_tokens import encode_chats
from tamis.train.settings import TrainSettings
from tamis.train.token_losses import token_losses

DOLLY = Path(__file__).resolve().parents[1] / "examples" / "dolly.jsonl"
KEEP, SLICES, CONTEXT = 0.6, 5, 512
ONE_SCHEDULE = ("all", "random", "RHO by sample", "RHO by batch", "fixed", "reverse", "base loss high", "base loss low")
STAGED = ("staged all", "staged random", "self-evolving")
CONTROL = {**dict.fromkeys(ONE_SCHEDULE, "all"), **dict.fromkeys(STAGED, "staged all")}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Split:
    """Records of one seed."""

    warm: TokenRows
    pool: TokenRows
    held: TokenRows


def texts() -> list[str]:
    """WikiText-2 and Shakespeare, in pieces of about 1,500 characters."""
    pieces: list[str] = []
    for path in sorted((SHARED_DATA / "lm_text").glob("*.txt.gz")):
        text = gzip.decompress(path.read_bytes()).decode()
        pieces += [text[i : i + 1500] for i in range(0, len(text), 1500)]
    return pieces


def plain_rows(pieces: list[str], tokenizer: Any) -> TokenRows:
    """Texts as tokens, all but the first trained on."""
    ids = [tokenizer(piece)["input_ids"][:CONTEXT] for piece in pieces]
    ids = [row for row in ids if len(row) > 1]
    return TokenRows.from_lists([f"t{i}" for i in range(len(ids))], ids, [[False] + [True] * (len(r) - 1) for r in ids])


def split_of(rows: TokenRows, sizes: tuple[int, int, int], seed: int) -> Split:
    """Warm-up, pool and held-out records at random."""
    order = np.random.default_rng(seed).permutation(len(rows))
    ends = np.cumsum(sizes)
    return Split(*(rows.take(np.sort(order[a:b])) for a, b in zip([0, *ends[:-1]], ends, strict=True)))


def settings(seed: int, *, epochs: float = 1.0) -> TrainSettings:
    """Settings of every fine-tuning."""
    return TrainSettings(tune="full", learning_rate=3e-4, batch_rows=16, epochs=epochs, micro_tokens=4096, seed=seed)


def masks(split: Split, base: Any, reference: Any, seed: int) -> dict[str, Mask]:
    """The mask of each arm that has one schedule."""
    losses = {"base": token_losses(base, split.pool), "reference": token_losses(reference, split.pool)}

    def ranked(scope: str, rank_by: str) -> Mask:
        cleaner = TokenCleaner(keep=KEEP, scope=scope, rank_by=rank_by, seed=seed)
        found: Mask = cleaner.fit(split.pool, **losses).mask_
        return found

    by = {"random": ("global", "random"), "RHO by sample": ("sample", "excess"), "RHO by batch": ("batch", "excess"),
          "fixed": ("global", "excess"), "reverse": ("global", "reverse"), "base loss high": ("global", "base-high"),
          "base loss low": ("global", "base-low")}  # fmt: skip
    return {"all": split.pool.response, **{arm: ranked(*how) for arm, how in by.items()}}


def staged(split: Split, base: Any, rank_by: str | None, seed: int) -> Any:
    """A model trained slice by slice; with None every slice teaches all of its tokens."""
    network = copy_of(base)

    def learn(stage: int, rows: TokenRows, mask: Mask) -> None:
        taught(network, rows, rows.response if rank_by is None else mask, settings(100 * seed + stage))

    def losses(stage: int, rows: TokenRows) -> NDArray[np.float32]:
        return token_losses(network, rows)

    cleaner = TokenCleaner(keep=KEEP, rank_by=rank_by or "excess", seed=seed)
    self_evolving(split.pool, token_losses(base, split.pool), cleaner, train=learn, losses=losses, slices=SLICES)
    return network


def one_seed(base: Any, rows: TokenRows, sizes: tuple[int, int, int], seed: int) -> list[dict[str, Any]]:
    """Held-out losses of every arm for one seed."""
    split = split_of(rows, sizes, seed)
    reference = taught(copy_of(base), split.warm, split.warm.response, settings(seed, epochs=2.0))
    held = [token_losses(network, split.held) for network in (base, reference)]
    kept = TokenCleaner(keep=KEEP).fit(split.held, base=held[0], reference=held[1]).mask_

    def measured(arm: str, network: Any) -> dict[str, Any]:
        losses = token_losses(network, split.held)
        return {"arm": arm, "seed": seed, "all tokens": float(losses[split.held.response].mean()),
                "kept tokens": float(losses[kept].mean())}  # fmt: skip

    found = [measured("base", base), measured("warm-up only", reference)]
    for arm, mask in masks(split, base, reference, seed).items():
        found.append(measured(arm, taught(copy_of(base), split.pool, mask, settings(seed))))
    for arm, rank_by in zip(STAGED, (None, "random", "excess"), strict=True):
        found.append(measured(arm, staged(split, base, rank_by, seed)))
    for row in found:
        print(f"  seed {seed}: {row['arm']}: {row['all tokens']:.4f} all, {row['kept tokens']:.4f} kept", flush=True)
    return found


def table_of(found: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Mean loss of each arm, and its paired difference to the control with the same schedule."""
    by = {(row["arm"], row["seed"]): row[split] for row in found}
    seeds = sorted({row["seed"] for row in found})
    rows = []
    for arm in dict.fromkeys(row["arm"] for row in found):
        mean, _, _ = student_interval(np.array([by[arm, seed] for seed in seeds]))
        row: dict[str, Any] = {"arm": arm, "loss": mean, "less": CONTROL.get(arm, ""), "difference": None, "low": None,
                               "high": None}  # fmt: skip
        if arm in CONTROL and CONTROL[arm] != arm:
            gap, low, high = student_interval(np.array([by[arm, s] - by[CONTROL[arm], s] for s in seeds]))
            row |= {"difference": gap, "low": low, "high": high}
        rows.append(row)
    return rows


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--pool", type=int, default=1000)
    made.add_argument("--width", type=int, default=256, help="of the model; 256 makes about 5 million parameters")
    made.add_argument("--layers", type=int, default=5)
    options = made.parse_args()
    report = begin("tokens downstream", options)
    if not (SHARED_DATA / "lm_text").is_dir():
        report.skip(f"no texts in {SHARED_DATA / 'lm_text'}")
        return
    pieces = texts()[: 60 if options.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        table = read(DOLLY)
        chats = table.chats()
        spoken = [message["content"] for chat in chats for message in chat]
        tokenizer = small_tokenizer([*pieces, *spoken], size=4096, folder=Path(folder))
    rows = encode_chats(chats, table.ids, tokenizer, max_length=CONTEXT).rows
    base = small_llama(
        len(tokenizer),
        width=64 if options.quick else options.width,
        layers=2 if options.quick else options.layers,
        seed=0,
    )
    learned = plain_rows(pieces, tokenizer)
    first = TrainSettings(
        tune="full", learning_rate=1e-3, batch_rows=16, epochs=2.0, micro_tokens=4096, schedule="cosine"
    )
    taught(base, learned, learned.response, first)
    n = sum(each.numel() for each in base.parameters())
    report.say(f"base: {n:,} parameters, trained on {len(learned.ids):,} tokens of text")
    sizes = (24, 60, 40) if options.quick else (256, options.pool, 400)
    seeds = 2 if options.quick else options.seeds
    found = [row for seed in range(seeds) for row in one_seed(base, rows, sizes, seed)]
    report.table("Each training", found)
    for split in ("all tokens", "kept tokens"):
        rows_ = table_of(found, split)
        report.table(f"Held-out loss on {split}, nats; difference to the control of the same schedule, paired", rows_)
        for row in rows_:
            if row["difference"] is not None:
                words = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
                report.bars.append(reported(f"tokens: {row['arm']} less {row['less']}, {split}", words))
    report.finish()


if __name__ == "__main__":
    main()
