"""One small world for each registered method: what the contract suite needs to know about it, and nothing more.

A new method adds one entry to ``WORLDS``; the suite then runs over it.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch

from tamis.curate import DS2
from tamis.curate.tokens import TokenCleaner
from tamis.data import Answers, Signal, Table, read, read_answers, read_llm_labels, write
from tamis.data.token_rows import TokenRows
from tamis.forget import UGradSL
from tamis.forget.named_examples import read_named
from tamis.models.classifier import find_classifier, load_classifier, save_classifier
from tamis.models.small_networks import mlp
from tamis.people import PeerPrediction
from tamis.prune import LayerPruner, LayerScores
from tamis.train import TrainSettings, train
from tamis.train.labelled import CrossEntropy, LabelledExamples
from tamis.train.seeded import seeded


class World(ABC):
    """A dataset small enough for a second's work, and how the method is called on it.

    ``given()`` returns the arguments of its ``fit``, or ``apply``, by name.
    """

    estimator: ClassVar[type]
    params: ClassVar[dict[str, Any]]
    ends: ClassVar[tuple[str, ...]]
    """Files of a run that are the same however it went."""
    shards: ClassVar[str]
    """Pattern of the files of finished shards, or steps, of a run."""
    small: ClassVar[str] = ""
    """``"module:CONSTANT"`` that cuts shards; the suite lowers it to ``small_size`` so that a run has several."""
    small_size: ClassVar[int] = 64

    def make(self, **changed: Any) -> Any:
        return self.estimator(**{**self.params, **changed})

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """Keywords of the method."""

    @abstractmethod
    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        """Every way in, tried with a row that is there twice: all must refuse."""

    @abstractmethod
    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Write the world to ``folder``; return inputs and parameters of its recipe."""


class SelectorWorld(World):
    """World of a method that decides about units.

    Unless a world says otherwise, ``given()`` holds a ``table`` whose records are the units, and arrays that run over
    its rows.
    """

    ends = ("selection.parquet", "evidence.parquet", "selected.jsonl")
    shards = "steps/*/part-*.parquet"

    @abstractmethod
    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        """Keywords of ``fit``; with ``content_ids`` the table's ids are digests of the content."""

    def units(self, given: dict[str, Any]) -> list[str]:
        """What is decided about."""
        return given["table"].ids.to_list()

    def size(self, given: dict[str, Any]) -> int:
        """Rows that can be taken, reordered and left out."""
        return len(given["table"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        """The world at these rows: tables and arrays that run over the rows are cut, signals go by id."""
        rows, n = np.asarray(rows, dtype=np.int64), self.size(given)

        def cut(value: Any) -> Any:
            if isinstance(value, Table):
                return value.take(rows)
            return value[rows] if isinstance(value, np.ndarray) and len(value) == n else value

        return {name: cut(value) for name, value in given.items()}

    def order(self, given: dict[str, Any]) -> list[str]:
        """Ids of the rows, as they stand."""
        return given["table"].ids.to_list()

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = given["table"].frame
        twice = pl.concat([frame, frame[:1]])
        twice.write_ndjson(folder / "pool.jsonl")
        return [lambda: Table.from_frame(twice), lambda: Table(twice), lambda: read(folder / "pool.jsonl")]

    @abstractmethod
    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        """What is left when the selection is applied to its table, and how many rows that must be."""

    @abstractmethod
    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        """The same with the measurements of ``ids`` failed in the way ``status`` says."""

    @abstractmethod
    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        """What, row by row, does not depend on any measurement."""


class DS2World(SelectorWorld):
    """240 rated records in 16 clusters; three are exact copies of others, rated apart; twelve have no rating."""

    estimator = DS2
    params: ClassVar[dict[str, Any]] = {"budget": 60, "n_bootstrap": 4, "n_restarts": 1}
    small = "tamis.curate.job:BLOCK_SIZE"

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        rng = np.random.default_rng(7)
        n, n_clusters = 240, 16
        cluster = rng.integers(0, n_clusters, n)
        vectors = rng.normal(size=(n_clusters, 8))[cluster] + 0.15 * rng.normal(size=(n, 8))
        vectors[[50, 100, 150]] = vectors[[3, 4, 3]]
        truth = rng.integers(1, 6, n_clusters)[cluster]
        ratings = np.where(rng.random(n) < 0.25, rng.integers(1, 6, n), truth).astype(np.float64)
        ratings[::20] = np.nan
        columns = {
            "prompt": [f"question {i}" for i in rng.permutation(n)],
            "response": [f"answer {i}" for i in range(n)],
        }
        if not content_ids:
            columns["id"] = [f"r{i}" for i in rng.permutation(n)]
        table = Table.from_frame(pl.DataFrame(columns))
        signal = Signal.from_frame(pl.DataFrame({"unit_id": table.ids, "value": ratings}), rater="judge")
        return {"table": table, "ratings": signal, "embeddings": vectors.astype(np.float32)}

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        gone = pl.col("unit_id").is_in(ids)
        frame = given["ratings"].frame.with_columns(
            value=pl.when(~gone).then("value"),
            status=pl.when(gone).then(pl.lit(status)).otherwise(pl.col("status").cast(pl.String)),
        )
        if status == "missing":  # not in the file at all
            frame = frame.filter(~gone)
        return {**given, "ratings": Signal.from_frame(frame)}

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        return fitted.select().apply(given["table"]), self.params["budget"]

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"rarity": fitted.longtail_, "neighbours": fitted.graph_.idx[fitted.graph_.group]}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        write(given["table"], folder / "pool.jsonl")
        given["ratings"].write(folder / "ratings.parquet")
        np.save(folder / "vectors.npy", given["embeddings"])
        inputs = {"pool": "pool.jsonl", "ratings": "ratings.parquet", "embeddings": "vectors.npy"}
        return {role: str(folder / name) for role, name in inputs.items()}, dict(self.params)


class PeersWorld(SelectorWorld):
    """118 workers: 25 paste from an LLM, 20 answer at random, eight gave too few answers to be scored."""

    estimator = PeerPrediction
    params: ClassVar[dict[str, Any]] = {"min_answers": 15, "n_bootstrap": 40}

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        rng = np.random.default_rng(11)
        n_tasks, n_workers = 160, 118
        truth = rng.integers(0, 3, n_tasks)
        base = np.where(rng.random(n_tasks) < 0.65, truth, (truth + 1) % 3)
        samples = [np.where(rng.random(n_tasks) < 0.1, (base + 2) % 3, base) for _ in range(3)]
        unlike = np.where(rng.random(n_tasks) < 0.5, truth, (truth + 2) % 3)
        rows = []
        for worker in range(n_workers):
            at = rng.choice(n_tasks, 5 if worker >= 110 else 40, replace=False)
            own = np.where(rng.random(len(at)) < 0.75, truth[at], rng.integers(0, 3, len(at)))
            said = samples[2][at] if worker < 25 else rng.integers(0, 3, len(at)) if worker < 45 else own
            rows += [
                {"task": f"t{t}", "worker": f"w{worker:03d}", "label": "abc"[k]} for t, k in zip(at, said, strict=True)
            ]
        answers = Answers.from_frame([rows[i] for i in rng.permutation(len(rows))])
        labels = [{"task": f"t{t}", "model": model, "sample": s, "label": "abc"[k[t]]}
                  for model, s, k in (("m", 0, samples[0]), ("m", 1, samples[1]), ("n", 0, unlike))
                  for t in range(n_tasks)]  # fmt: skip
        return {"answers": answers, "llm": read_llm_labels(labels)}

    def units(self, given: dict[str, Any]) -> list[str]:
        return given["answers"].workers.to_list()

    def size(self, given: dict[str, Any]) -> int:
        return len(given["answers"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        return {**given, "answers": given["answers"].take(rows)}

    def order(self, given: dict[str, Any]) -> list[str]:
        return given["answers"].table.ids.to_list()

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = given["answers"].to_long()
        twice = pl.concat([frame, frame[:1]])
        twice.write_csv(folder / "answers.csv")
        ways = (lambda: Answers.from_frame(twice, duplicates="error"),
                lambda: read_answers(folder / "answers.csv", duplicates="error"))  # fmt: skip
        return list(ways)

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        kept = fitted.workers_.filter(action="keep")["n_answers"].sum()
        return fitted.answer_selection_.apply(given["answers"].table), kept

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        frame = given["answers"].to_long()
        left = pl.int_range(pl.len()).over("worker") < 3  # a worker who gave no answer at all would not be a unit
        gone = pl.col("worker").is_in(ids) & ~left
        if status == "missing":
            frame = frame.filter(~gone)
        else:
            blank = pl.lit(None if status == "refused" else "", dtype=pl.String)
            frame = frame.with_columns(label=pl.when(gone).then(blank).otherwise("label"))
        return {**given, "answers": Answers.from_frame(frame)}

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"condition": fitted.conditions_[0].z, "virtual labels": fitted.conditions_[0].others}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        given["answers"].to_long().write_ndjson(folder / "answers.jsonl")
        given["llm"].frame.select("task", "model", "sample", "label").write_csv(folder / "llm.csv")
        inputs = {"answers": str(folder / "answers.jsonl"), "llm": str(folder / "llm.csv")}
        return inputs, dict(self.params)


@functools.cache
def two_models() -> tuple[str, str]:
    """Folders of a random llama over bytes, and of the same with other weights."""
    import torch
    from transformers import AutoModelForCausalLM

    path = Path(__file__).parents[1] / "e2e" / "tiny_llama.py"
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


@functools.cache
def deep_model() -> str:
    """Folder of a random llama with 60 layers, three of which hold a weight that is no number."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    small = AutoTokenizer.from_pretrained(two_models()[0])
    config = LlamaConfig(vocab_size=len(small), hidden_size=8, intermediate_size=8, num_hidden_layers=60,
                         num_attention_heads=1, bos_token_id=0, eos_token_id=0)  # fmt: skip
    network = LlamaForCausalLM(config)
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if "norm" not in name:
                weights.copy_(torch.randn(weights.shape, generator=noise))
        for layer in (11, 30, 58):
            network.model.layers[layer].mlp.up_proj.weight[0, 0] = float("nan")
    folder = tempfile.mkdtemp(prefix="tamis-world-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    network.save_pretrained(folder)
    small.save_pretrained(folder)
    return folder


class PruneWorld(SelectorWorld):
    """60 layers, scored by their weights; three cannot be scored, six are protected."""

    estimator = LayerPruner
    params: ClassVar[dict[str, Any]] = {"n_drop": 12, "protect_first": 4, "protect_last": 2}
    ends = ("selection.parquet", "evidence.parquet", "scores.csv")

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        return {"scores": _layer_scores()}

    def units(self, given: dict[str, Any]) -> list[str]:
        return given["scores"].unit_ids

    def size(self, given: dict[str, Any]) -> int:
        return len(given["scores"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        frame = given["scores"].frame[np.asarray(rows, dtype=np.int64)]
        return {"scores": _Rows(frame) if len(frame) > 1 else LayerScores(frame, criterion="magnitude")}

    def order(self, given: dict[str, Any]) -> list[str]:
        return given["scores"].unit_ids

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = given["scores"].frame
        twice = pl.concat([frame, frame[:1]])
        twice.write_csv(folder / "scores.csv")
        return [lambda: LayerScores(twice, criterion="x"), lambda: LayerScores.read(folder / "scores.csv")]

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        layers = Table.from_frame(pl.DataFrame({"id": self.units(given), "prompt": self.units(given)}))
        return fitted.select().apply(layers), len(fitted.kept_)

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        failed = {"missing": None, "refused": float("nan"), "unparsed": float("inf")}[status]
        frame = given["scores"].frame.drop("rank").with_columns(unit=pl.Series(self.units(given)))
        score = pl.when(pl.col("unit").is_in(ids)).then(pl.lit(failed, dtype=pl.Float64)).otherwise("score")
        return {"scores": LayerScores(frame.with_columns(score=score), criterion="magnitude")}

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"protected": fitted.protected_}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        return {}, {**self.params, "model": deep_model(), "criterion": "magnitude"}


class _Rows(LayerScores):
    """Scores that say in which order their rows were given."""

    def __init__(self, frame: pl.DataFrame) -> None:
        super().__init__(frame, criterion="magnitude")
        self.given = frame

    @property
    def unit_ids(self) -> list[str]:
        return [f"layer-{layer:03d}" for layer in self.given["layer"]]


@functools.cache
def _layer_scores() -> LayerScores:
    from tamis.models.causal_lm import find_model
    from tamis.prune.scoring import ScoreLayers
    from tamis.prune.settings import PruneSettings
    from tamis.train.tuned_model import TunedModel

    model = find_model(deep_model())
    settings = PruneSettings(model=model.name, criterion="magnitude")
    task = ScoreLayers(TunedModel(model), "magnitude", settings, [], 12, (True,) * 60, 0)
    return LayerScores(task(tuple(range(60))), criterion="magnitude")


class EditorWorld(World):
    """World of a method that changes a network: ``given()`` returns the keywords of ``apply``."""

    ends = ("selection.parquet", "model/model.safetensors", "certificate/predictions.parquet",
            "certificate/request.json")  # fmt: skip
    shards = "steps/*/model/model.safetensors"
    small_size = 1

    @abstractmethod
    def files(
        self, folder: Path, given: dict[str, Any], *, content_ids: bool = False, shuffled: bool = False
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Likewise; with ``content_ids`` without ids, with ``shuffled`` in another order of rows."""


class ForgetWorld(EditorWorld):
    """150 examples of three classes that overlap, 20 of them from a source that is to be forgotten."""

    estimator = UGradSL
    params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_rows": 65, "learning_rate": 0.05}
    small = "tamis.forget.forgetter:CHECKPOINT_STEPS"
    features: ClassVar[list[str]] = [f"x{i}" for i in range(8)]
    training: ClassVar[dict[str, Any]] = {"epochs": 2.0, "learning_rate": 0.1, "batch_rows": 65}

    def frames(self) -> dict[str, pl.DataFrame]:
        rng = np.random.default_rng(4)
        found = {}
        for role, n in (("data", 150), ("held_out", 60), ("test", 60)):
            label = rng.integers(0, 3, n)
            x = (rng.normal(size=(n, 8)) + np.eye(8)[label] * 2).round(3)
            ids = {"id": [f"{role}-{i:03d}" for i in range(n)], "label": label}
            source = pl.Series("source", ["bad" if i % 7 == 3 and i < 140 else "good" for i in range(n)])
            found[role] = pl.DataFrame({**ids, **dict(zip(self.features, x.T, strict=True))}).with_columns(source)
        return found

    def examples(self, frame: pl.DataFrame) -> Any:
        return LabelledExamples.of(frame.select(self.features).to_numpy().astype(np.float32), frame["label"])

    def given(self) -> dict[str, Any]:
        frames = self.frames()
        return {
            "network": load_classifier(find_classifier(small_classifier())),
            "examples": self.examples(frames["data"]),
            "forget": np.flatnonzero((frames["data"]["source"] == "bad").to_numpy()),
            "held_out": self.examples(frames["held_out"]),
        }

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = self.frames()["data"]
        twice = pl.concat([frame, frame[:1]])
        twice.write_csv(folder / "data.csv")
        twice.write_ndjson(folder / "data.jsonl")
        x = twice.select(self.features).to_numpy()
        np.savez(folder / "data.npz", x=x, y=twice["label"].to_numpy(), id=np.array(twice["id"].to_list()))
        return [functools.partial(read_named, folder / f"data.{kind}", {}) for kind in ("csv", "jsonl", "npz")]

    def files(
        self, folder: Path, given: dict[str, Any], *, content_ids: bool = False, shuffled: bool = False
    ) -> tuple[dict[str, str], dict[str, Any]]:
        for role, frame in self.frames().items():
            rows = frame.drop("id") if content_ids else frame
            rows = rows.sample(fraction=1, shuffle=True, seed=1) if shuffled else rows
            rows.write_csv(folder / f"{role}.csv")
        inputs = {role: str(folder / f"{role}.csv") for role in self.frames()}
        params = {**self.params, "model": small_classifier(), "where": "source=bad", "retrain": True, "seeds": 2}
        return inputs, params


@functools.cache
def small_classifier() -> str:
    """Folder of a perceptron that learned the world of examples."""
    world, sizes = ForgetWorld(), [8, 32, 3]
    with seeded(0, torch.device("cpu")):
        network = mlp(sizes)
    settings = TrainSettings(**{**world.training, "epochs": 100.0, "optimizer": "sgd", "momentum": 0.9, "tune": "full"})
    train(network, CrossEntropy(world.examples(world.frames()["data"])), settings)
    folder = tempfile.mkdtemp(prefix="tamis-world-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    description = {"network": "mlp", "arguments": {"sizes": sizes}, "training": world.training}
    save_classifier(network, Path(folder), description)
    return folder


WORLDS: dict[str, type[World]] = {
    "ds2": DS2World,
    "forget": ForgetWorld,
    "peers": PeersWorld,
    "prune": PruneWorld,
    "tokens": TokensWorld,
}
