"""Each export is read by the trainer it is for, and the labels that reach the loss are those of the mask.

axolotl and LLaMA-Factory pin other versions of torch's company than tamis uses, so their tests run in an environment of
their own: install one of them with ``pytest polars pyarrow pydantic typer rich pyyaml`` and run this file with
``PYTHONPATH=src``.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from packaging.version import Version

pytestmark = [
    pytest.mark.e2e,
    # TRL sets by default what transformers has renamed
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning"),
]

CHATS = [
    ("What is a sieve?", "A tool with a mesh: it separates coarse parts from fine ones."),
    ("Übersetze „Haarsieb“ ins Englische.", "hair sieve — 筛子 in Chinese, 篩 in Japanese."),
    ("2 + 2?", "4"),
    ("Name three colours.", "red, green and blue 🎨🎨"),
    ("And now?", "Nothing  more.\n\n- a\n- b"),
    ("Which letter comes after a?", "b"),
    ("Say nothing.", "…"),
    ("Repeat ab ab ab.", "ab ab ab"),
]
EMPTIED = 5
"""A record of which no token is kept."""
MISSING_AXOLOTL = importlib.util.find_spec("axolotl") is None
MISSING_FACTORY = importlib.util.find_spec("llamafactory") is None
PACKS_LABELS = importlib.util.find_spec("trl") is not None and Version(version("trl")) >= Version("1.7")
WHY = "{} is not installed here: it pins other versions of transformers and datasets"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a tiny llama over bytes."""
    folder = tmp_path_factory.mktemp("llama")
    script = Path(__file__).with_name("tiny_llama.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def tokenizer(model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


@pytest.fixture(scope="module")
def rows(tokenizer):
    """Chats as the run would tokenise them."""
    from tamis.models.chat_tokens import encode_chats

    chats = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in CHATS]
    return encode_chats(chats, [f"r{i}" for i in range(len(chats))], tokenizer, max_length=2048).rows


@pytest.fixture(scope="module")
def keep(rows):
    """Half of the response tokens, none of one record; on whole bytes, so some characters are cut."""
    kept = rows.response & (np.random.default_rng(0).random(len(rows.ids)) < 0.5)
    kept[rows.row_of == EMPTIED] = False
    return kept


@pytest.fixture(scope="module")
def run(model, rows, keep, tmp_path_factory):
    """A finished run of 'tamis tokens'."""
    from tamis.recipe import Recipe
    from tamis.runs import Run

    folder = tmp_path_factory.mktemp("runs")
    (folder / "pool.jsonl").write_text("".join(json.dumps({"prompt": q, "response": a}) + "\n" for q, a in CHATS))
    recipe = Recipe(method="tokens", inputs={"pool": str(folder / "pool.jsonl")}, params={"base": str(model)})
    with Run.start(folder / "run", recipe, command="tamis tokens") as started:
        score = np.where(rows.response, np.float32(1), np.float32("nan"))
        rows.to_frame(keep=keep, score=score).write_parquet(folder / "run" / "tokens.parquet")
        started.finish("complete", {})
    return folder / "run"


@pytest.fixture(scope="module")
def export(run, tmp_path_factory):
    """Export the run through the command line; returns what --json prints."""
    import typer
    from typer.testing import CliRunner

    from tamis.cli import export as verb

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb.export)

    def export(format):
        out = tmp_path_factory.mktemp("export") / "out"
        arguments = [str(run), "--format", format, "--out", str(out), "--json"]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return export


@pytest.fixture(scope="module")
def expected(rows, keep):
    """Labels by token ids, of the records that keep a token."""
    labels = np.where(keep, rows.ids, -100)
    spans = zip(rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True)
    return {tuple(rows.ids[a:b].tolist()): labels[a:b].tolist() for a, b in spans if keep[a:b].any()}


def mean_loss(model, expected):
    """Mean cross-entropy of the kept tokens, by hand."""
    import torch
    from transformers import LlamaForCausalLM

    network = LlamaForCausalLM.from_pretrained(model).eval()
    total, count = 0.0, 0
    for ids, labels in expected.items():
        with torch.no_grad():
            logged = torch.log_softmax(network(torch.tensor([ids])).logits[0].double(), dim=-1)
        for place, label in enumerate(labels):
            if label != -100:
                total, count = total - float(logged[place - 1, label]), count + 1
    return total / count


def rows_of(batch):
    """Labels by token ids, of a batch that is padded or packed."""
    found = {}
    positions = batch["position_ids"].tolist() if "position_ids" in batch else [None] * len(batch["input_ids"])
    for i, at in enumerate(positions):
        ids, labels = batch["input_ids"][i].tolist(), batch["labels"][i].tolist()
        if at is None:
            (places,) = batch["attention_mask"][i].nonzero(as_tuple=True)
            starts = [int(places[0]), int(places[-1]) + 1]
        else:
            starts = [*(j for j, place in enumerate(at) if place == 0), len(at)]
        for start, stop in pairwise(starts):
            found[tuple(ids[start:stop])] = labels[start:stop]
    return found


# TRL ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sft_trainer(export, model, tokenizer, tmp_path):
    """Make SFTTrainer as the usage says, all records in one batch."""
    pytest.importorskip("trl", reason="not installed: trl")
    from datasets import load_dataset
    from transformers import LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    def make(**changes):
        found = export("trl")
        data = load_dataset("parquet", data_files=found["files"][0], split="train", cache_dir=str(tmp_path / "cache"))
        options = {"max_length": found["longest"], "completion_only_loss": True} | changes
        config = SFTConfig(
            output_dir=str(tmp_path / "out"), per_device_train_batch_size=len(data), max_steps=1, learning_rate=1e-3,
            use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
            **options,
        )  # fmt: skip
        network = LlamaForCausalLM.from_pretrained(model)
        return SFTTrainer(network, args=config, train_dataset=data, processing_class=tokenizer)

    return make


@pytest.mark.parametrize("loss_option", [True, None])
@pytest.mark.parametrize("packing", [False, True])
def test_trl_masks_as_we_do(sft_trainer, expected, loss_option, packing):
    if packing and not loss_option and not PACKS_LABELS:
        pytest.skip("TRL before 1.7 packs no labels: it takes the mask only with completion_only_loss=True")
    trainer = sft_trainer(completion_only_loss=loss_option, packing=packing)
    found = {}
    for batch in trainer.get_train_dataloader():
        found |= rows_of(batch)
    assert found == expected


def test_trl_trains_on_the_kept_tokens_alone(sft_trainer, expected, model):
    """One step: the loss that is minimised is the mean over kept tokens, and the weights move."""
    trainer = sft_trainer()
    before = trainer.model.lm_head.weight.detach().clone()
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(mean_loss(model, expected), rel=1e-3)
    assert not trainer.model.lm_head.weight.equal(before)


# axolotl --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def axolotl_data(export, model, tokenizer, tmp_path):
    """Prepare data as axolotl does, with its own checks of the configuration, and collate it into one batch."""
    import yaml

    def prepare(format):
        from axolotl.utils.collators.batching import DataCollatorForSeq2Seq
        from axolotl.utils.config import validate_config
        from axolotl.utils.data.sft import prepare_datasets
        from axolotl.utils.dict import DictDefault

        found = export(format)
        given = {
            "base_model": str(model), "sequence_len": found["longest"], "train_on_inputs": False, "val_set_size": 0,
            "dataset_prepared_path": str(tmp_path / "prepared"), "output_dir": str(tmp_path / "out"), "seed": 1,
            "dataset_num_proc": 1, "micro_batch_size": 2, "gradient_accumulation_steps": 1, "num_epochs": 1,
            "learning_rate": 1e-3, **yaml.safe_load(Path(found["files"][1]).read_text()),
        }  # fmt: skip
        config = validate_config(DictDefault(given))
        config.batch_size = 2  # what normalize_config works out; it also looks for a GPU
        data, *_ = prepare_datasets(config, tokenizer)
        return found, rows_of(DataCollatorForSeq2Seq(tokenizer)(list(data)))

    return prepare


@pytest.mark.skipif(MISSING_AXOLOTL, reason=WHY.format("axolotl"))
def test_axolotl_masks_as_we_do(axolotl_data, expected):
    _, found = axolotl_data("axolotl")
    assert found == expected


@pytest.mark.skipif(MISSING_AXOLOTL, reason=WHY.format("axolotl"))
def test_axolotl_reads_the_segments_as_we_counted(axolotl_data, expected):
    counted, found = axolotl_data("axolotl-segments")
    assert counted["retokenised"] == 0, "single bytes cannot be joined otherwise"
    assert set(found) == set(expected)
    lost = 0
    for ids, labels in expected.items():
        trained = {place for place, label in enumerate(found[ids]) if label != -100}
        wanted = {place for place, label in enumerate(labels) if label != -100}
        assert trained <= wanted
        lost += len(wanted - trained)
    assert lost == counted["unlabelled"] > 0


# LLaMA-Factory --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(MISSING_FACTORY, reason=WHY.format("llamafactory"))
def test_llama_factory_trains_on_the_kept_tokens_alone(export, model, expected, tmp_path, monkeypatch):
    """Its own training run, with the entry from the README; what reaches the loss is looked at on the way."""
    import yaml
    from llamafactory.train.sft import workflow
    from llamafactory.train.tuner import run_exp

    found = export("llama-factory")
    entry = yaml.safe_load(Path(found["files"][1]).read_text().split("```yaml\n")[1].split("```")[0])
    seen, losses = {}, []
    compute = workflow.CustomSeq2SeqTrainer.compute_loss

    def watched(self, network, inputs, *more, **named):
        seen.update(rows_of(inputs))
        losses.append(compute(self, network, inputs, *more, **named))
        return losses[-1]

    monkeypatch.setattr(workflow.CustomSeq2SeqTrainer, "compute_loss", watched)
    run_exp({
        "model_name_or_path": str(model), "template": "default", "do_train": True, "finetuning_type": "full",
        "output_dir": str(tmp_path), "per_device_train_batch_size": len(expected), "max_steps": 1, "report_to": "none",
        "save_strategy": "no", "use_cpu": True, "cutoff_len": 4, **entry,
    })  # fmt: skip
    assert seen == expected
    assert float(losses[0]) == pytest.approx(mean_loss(model, expected), rel=1e-3)


# Anyone ---------------------------------------------------------------------------------------------------------------


def test_plain_parquet_makes_batches_for_any_loop(export, model, expected):
    """Transformers' own model, with the labels as they are written."""
    import polars as pl
    import torch
    from transformers import LlamaForCausalLM

    frame = pl.read_parquet(export("parquet")["files"][0])
    assert dict(zip(map(tuple, frame["input_ids"].to_list()), frame["labels"].to_list(), strict=True)) == expected
    network = LlamaForCausalLM.from_pretrained(model).eval()
    losses, counts = [], []
    for ids, labels in frame.select("input_ids", "labels").iter_rows():
        with torch.no_grad():
            losses.append(float(network(torch.tensor([ids]), labels=torch.tensor([labels])).loss))
        counts.append(sum(label != -100 for label in labels))
    assert np.average(losses, weights=counts) == pytest.approx(mean_loss(model, expected), rel=1e-4)
