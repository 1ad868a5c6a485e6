"""Tokens a second of a local judge beside the bare model on the same prompts, in one process.

``python bench/bench_local_rating.py [--rows 256] [--rounds 1] [--quick] [--json PATH]``

Both sides read the same Dolly rows, sorted by length and in batches of the same token limit. The bare side gets the
whole prompts already tokenized and runs one padded forward pass a batch for the last position; the judge tokenizes,
reads the prefix that all prompts share once, and gives ratings. Both are credited with the tokens of the whole
prompts; the table also shows the ratio without credit for what the judge did not have to read again. Rows go shard by
shard and the sides take turns to go first, so that a machine that slows down slows both; the bar is judged on the
median of the shards' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from tables import Report, at_least, begin, parser, reported

import tamis
from tamis.errors import MissingExtraError
from tamis.models.causal_lm import load
from tamis.models.expected_score import left_padded
from tamis.models.hf_judge import BATCH_TOKENS, HFJudge
from tamis.models.judge_frame import Frame, frame_of, sample_tokens
from tamis.models.judging import JudgePrompt

POOL = Path(__file__).resolve().parents[1] / "examples" / "dolly.jsonl"
MOST_CHARACTERS = 4000
SYSTEM = (
    "You are a data quality estimator for instruction tuning. You judge how valuable one training sample is for "
    "teaching a language model to follow instructions."
)
OPENING = (
    "Rate the sample below on a scale from 1 (worthless) to 10 (excellent). Consider its rarity (is it unusual?), its "
    "complexity (does it need thought or skill?) and its informativeness (is the response correct, specific and "
    "helpful?). Use the whole scale and do not give most samples the same rating.\n\n### Sample\n"
)


def judge_prompt(sample: str, criteria: tuple[str, ...]) -> JudgePrompt:
    """Return a short prompt with a question for each criterion."""
    ask = "\n### End of sample\n\nWhat is the {} rating of this sample, from 1 to 10?"
    questions = tuple((name, ask.format(name)) for name in criteria)
    return JudgePrompt(SYSTEM, OPENING, sample, "", questions, "{criterion} rating: ", 1, 10)


def dolly_samples(rows: int, seed: int) -> list[str]:
    """Return seeded random rows of the shipped pool as ``role: content`` lines."""
    chats = tamis.read(POOL).chats()
    chosen = np.random.default_rng(seed).choice(len(chats), size=min(rows, len(chats)), replace=False)
    texts = ["\n".join(f"{message['role']}: {message['content']}" for message in chats[i]) for i in chosen]
    return [text[:MOST_CHARACTERS] for text in texts]


def whole_texts(frame: Frame, samples: list[list[int]]) -> list[list[int]]:
    """Return every prompt in full, criterion by criterion."""
    return [[*frame.prefix, *sample, *frame.common, *tail] for sample in samples for tail in frame.tails]


def batches(texts: list[list[int]]) -> list[list[list[int]]]:
    """Cut length-sorted texts by the same token limit as the judge's batches."""
    cut: list[list[list[int]]] = [[]]
    for text in sorted(texts, key=len):
        if cut[-1] and (len(cut[-1]) + 1) * len(text) > BATCH_TOKENS:
            cut.append([])
        cut[-1].append(text)
    return cut


def bare_forward(network: Any, cut: list[list[list[int]]]) -> None:
    """Read every text once, without reuse of anything."""
    import torch

    with torch.inference_mode():
        for batch in cut:
            ids, mask = left_padded(network, batch)
            network(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)


def seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(judge: HFJudge, samples: list[str], criteria: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Return the median speeds of both sides over the shards of the rows, each run ``rounds`` times."""
    network, tokenizer = load(judge.model)
    prompts = [judge_prompt(sample, criteria) for sample in samples]
    frame = frame_of(prompts[0], tokenizer, judge.name)
    judge.replies(prompts[:1], [0])  # loaded, and the prefix read
    speeds, total, read = [], 0, 0
    for turn, shard in enumerate(judge.shards(prompts) * rounds):
        rows = [prompts[i] for i in shard]
        tokenized = sample_tokens([row.sample for row in rows], tokenizer)
        texts = whole_texts(frame, tokenized)
        cut, tokens = batches(texts), sum(map(len, texts))
        sides = [
            ("judge", lambda rows=rows: judge.replies(rows, [0] * len(rows))),
            ("bare", lambda cut=cut: bare_forward(network, cut)),
        ]
        spent = {name: seconds(call) for name, call in (sides if turn % 2 else sides[::-1])}
        speeds.append((tokens / spent["judge"], tokens / spent["bare"]))
        total += tokens
        read += sum(frame.tokens_read(len(text)) - len(frame.prefix) for text in tokenized)
    ratio = statistics.median(a / b for a, b in speeds)
    ours, theirs = (statistics.median(side) for side in zip(*speeds, strict=True))
    return {
        "criteria": len(criteria),
        "rows": len(samples),
        "prompt tokens": total // rounds,
        "shared prefix": len(frame.prefix),
        "judge tokens/s": round(ours, 1),
        "bare tokens/s": round(theirs, 1),
        "ratio": ratio,
        "without credit": ratio * read / total,
        "worst shard": min(a / b for a, b in speeds),
    }


def measure(report: Report, options: argparse.Namespace) -> None:
    judge = HFJudge.parse(options.model)
    found = [
        compare(judge, dolly_samples(options.rows, options.seed), ("overall",), options.rounds),
        compare(
            judge,
            dolly_samples(max(options.rows // 16, 4), options.seed),
            ("rarity", "complexity", "informativeness", "overall"),
            options.rounds,
        ),
    ]
    report.table(f"{judge.name}: tokens of whole prompts read a second (medians over shards)", found)
    one, four = found
    note = (
        "tokens of the whole prompt for both sides; the judge reads the shared prefix once a process "
        f"(without credit for it: {one['without credit']:.2f}x)"
    )
    report.bars.append(
        at_least("local rating: judge / bare batched forward, tokens/s", one["ratio"], 0.9, unit="x", note=note)
    )
    report.bars.append(
        reported("local rating of four criteria / bare forward of four prompts a row", f"{four['ratio']:.2f}x")
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--model", default="smollm2", help="as behind hf: (default: smollm2)")
    made.add_argument("--rows", type=int, default=256)
    made.add_argument("--rounds", type=int, default=1, help="times that each shard is run")
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    if options.quick:
        options.rows = min(options.rows, 32)
    report = begin("local rating", options)
    try:
        measure(report, options)
    except MissingExtraError as error:
        report.skip(str(error))
        return
    report.finish()


if __name__ == "__main__":
    main()
