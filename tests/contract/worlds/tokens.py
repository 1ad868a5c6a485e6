"""World of Token Cleaning, and two small language models."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch

from tamis.curate.tokens import TokenCleaner
from tamis.data import Table, write
from tamis.data.token_rows import TokenRows

from .world import SelectorWorld


@functools.cache
def two_models() -> tuple[str, str]:
    """Folders of a random llama over bytes, and of the same with other weights."""
    from transformers import AutoModelForCausalLM

    path = Path(__file__).parents[2] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folders = [tempfile.mkdtemp(prefix="tamis-world-") for _ in range(2)]
    for folder in folders:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        module.main(folder)
    other = AutoModelForCausalLM.from_pretrained(folders[1])
    noise = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weights in other.parameters():
            weights.add_(0.02 * torch.randn(weights.shape, generator=noise))
    other.save_pretrained(folders[1])
    return folders[0], folders[1]


class TokensWorld(SelectorWorld):
    """130 short records; the answers of eight lie behind the maximum length."""

    estimator = TokenCleaner
    params: ClassVar[dict[str, Any]] = {"keep": 0.5}
    small = "tamis.curate.tokens.pool:PART_ROWS"
    length: ClassVar[int] = 64
    part: ClassVar[int] = 64

    def table(self, *, content_ids: bool = False) -> Table:
        rng = np.random.default_rng(3)
        words = ["no", "a", "yes", "seven", "q", "it", "is", "so"]
        columns = {
            "prompt": [f"ask {i}" + "." * (99 if i % 17 == 3 else 0) for i in range(130)],
            "response": [" ".join(rng.choice(words, rng.integers(1, 4))) for _ in range(130)],
        }
        if not content_ids:
            columns["id"] = [f"r{i}" for i in rng.permutation(130)]
        return Table.from_frame(pl.DataFrame(columns))

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        return {**_token_world(content_ids)}

    def units(self, given: dict[str, Any]) -> list[str]:
        return given["rows"].unit_ids.to_list()

    def size(self, given: dict[str, Any]) -> int:
        return len(given["rows"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        positions = np.asarray(rows, dtype=np.int64)
        places = given["rows"].places(positions)
        return {"rows": given["rows"].take(positions), **{k: given[k][places] for k in ("base", "reference")}}

    def order(self, given: dict[str, Any]) -> list[str]:
        return given["rows"].unit_ids.to_list()

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame, table = given["rows"].to_frame(), self.table()
        return [
            lambda: TokenRows.from_frame(pl.concat([frame, frame[:1]])),
            *super().duplicated({"table": table}, folder),
        ]

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        counts = fitted.select().counts()
        return fitted.select().apply(self.table(), decision="mask"), counts["mask"]

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        rows = given["rows"]
        gone = rows.unit_ids.is_in(ids).to_numpy()[rows.row_of]
        failed = {"missing": ("base",), "refused": ("reference",), "unparsed": ("base", "reference")}[status]
        return {**given, **{name: np.where(gone, np.float32(np.nan), given[name]) for name in failed}}

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"candidates": fitted.candidate_}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        write(self.table(), folder / "pool.jsonl")
        base, reference = two_models()
        params = {**self.params, "base": base, "reference": reference, "max_length": self.length, "check_rows": 2}
        return {"pool": str(folder / "pool.jsonl")}, params


@functools.cache
def _token_world(content_ids: bool) -> dict[str, Any]:
    """Tokens and losses as a run has them: in the order of ids, in parts."""
    from tamis.models.causal_lm import find_model, load, load_tokenizer
    from tamis.models.chat_tokens import encode_chats
    from tamis.train.token_losses import token_losses

    table = TokensWorld().table(content_ids=content_ids)
    table = table.take(table.ids.arg_sort())
    base, reference = (find_model(folder) for folder in two_models())
    made = encode_chats(table.chats(), table.ids, load_tokenizer(base), max_length=TokensWorld.length)
    starts = range(0, len(made.rows), TokensWorld.part)
    parts = [made.rows.take(range(i, min(i + TokensWorld.part, len(made.rows)))) for i in starts]
    losses = {
        name: np.concatenate([token_losses(load(model)[0], part) for part in parts])
        for name, model in (("base", base), ("reference", reference))
    }
    return {"rows": made.rows, **losses}
