"""The folder that is written: whole or absent, with all that the model came with, in little memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest

from tamis.errors import DataError, RecipeError, RunStateError
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.streaming import write_cut

KEPT = (0, 2, 5)
CARD = "---\nlibrary_name: transformers\n---\n# Cut\n"
CONFIG = {"model_type": "llama", "num_hidden_layers": 3, "dtype": "bfloat16"}


@pytest.fixture
def checkpoint(saved, tmp_path):
    """A saved llama with a tokenizer, and files of all kinds beside it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "parent"
    shutil.copytree(saved("llama"), folder)
    plain = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]")
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
    tokenizer.save_pretrained(folder)
    (folder / "additional_chat_templates").mkdir()
    for name in ("LICENSE", "modeling_mine.py", "NOTICE.txt", "additional_chat_templates/tools.jinja"):
        (folder / name).write_bytes(name.encode() + b"\r\n")
    for name in ("README.md", ".gitattributes", "pytorch_model.bin", "model.gguf", "pytorch_model.bin.index.json",
                 "optimizer.pt", "model.onnx", "tf_model.h5", "flax_model.msgpack", "other.safetensors"):  # fmt: skip
        (folder / name).write_text("old")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.00.pth").touch()
    return Checkpoint.open(folder)


def test_what_the_model_came_with_is_carried_over(checkpoint, tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD)
    carried = {
        path.relative_to(tmp_path / "cut").as_posix() for path in (tmp_path / "cut").rglob("*") if path.is_file()
    }
    assert carried == {
        "model.safetensors", "config.json", "README.md", "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "LICENSE", "NOTICE.txt", "modeling_mine.py",
        "additional_chat_templates/tools.jinja",
    }  # fmt: skip
    for name in carried - {"model.safetensors", "config.json", "README.md"}:
        assert (tmp_path / "cut" / name).read_bytes() == (checkpoint.folder / name).read_bytes()
    assert (tmp_path / "cut" / "README.md").read_text() == CARD
    assert json.loads((tmp_path / "cut" / "config.json").read_text()) == CONFIG
    assert GenerationConfig.from_pretrained(tmp_path / "cut").top_k == 7
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "cut")
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a b"}], tokenize=False) == "a b "


def test_files_are_safetensors_of_torch_with_whole_words(checkpoint, tmp_path):
    from safetensors import safe_open

    write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD)
    with safe_open(tmp_path / "cut" / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}
    places = Checkpoint.open(tmp_path / "cut").tensors.values()
    assert all(place.start % 4 == 0 for place in places)
    assert min(place.start for place in places) % 8 == 0


def test_an_index_lists_every_tensor_once(checkpoint, tmp_path):
    write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD, max_shard_bytes=1)
    index = json.loads((tmp_path / "cut" / "model.safetensors.index.json").read_text())
    cut = Checkpoint.open(tmp_path / "cut")
    assert len(set(index["weight_map"].values())) == len(cut.tensors)
    assert index["metadata"]["total_size"] == cut.n_bytes
    assert cut.n_parameters() == checkpoint.n_parameters(KEPT)


def test_progress_ends_at_all(checkpoint, tmp_path):
    told = []
    write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD, progress=lambda *at: told.append(at))
    total = Checkpoint.open(tmp_path / "cut").n_bytes
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_where_the_kernel_does_not_copy_the_bytes_are_the_same(checkpoint, tmp_path, monkeypatch):
    write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD)

    def no_copy(*_, **__):
        raise OSError(errno.EXDEV, "across file systems")

    monkeypatch.setattr(os, "copy_file_range", no_copy)
    monkeypatch.setattr("tamis.prune.surgery.streaming._CHUNK", 100)
    write_cut(checkpoint, KEPT, tmp_path / "again", config=CONFIG, card=CARD)
    first, second = (folder / "model.safetensors" for folder in (tmp_path / "cut", tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_side_files_that_name_layers_of_a_quantised_model_are_renumbered(checkpoint, tmp_path):
    settings = {"quantization": {"exclude_modules": ["lm_head", "model.layers.1.mlp", "model.layers.5.mlp"]}}
    (checkpoint.folder / "hf_quant_config.json").write_text(json.dumps(settings))
    write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD)
    written = json.loads((tmp_path / "cut" / "hf_quant_config.json").read_text())
    assert written == {"quantization": {"exclude_modules": ["lm_head", "model.layers.2.mlp"]}}


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["os.copy_file_range", "os.write", "shutil.copyfile"])
def test_a_full_disk_leaves_nothing(checkpoint, tmp_path, monkeypatch, refused, where):
    monkeypatch.setattr(where, full)
    with refused(RunStateError, "disk", "full"):
        write_cut(checkpoint, KEPT, tmp_path / "new" / "cut", config=CONFIG, card=CARD)
    assert list((tmp_path / "new").iterdir()) == []


def test_space_is_looked_for_first(checkpoint, tmp_path, monkeypatch, refused):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "total used free")(9, 8, 1))
    with refused(RunStateError, "1 free"):
        write_cut(checkpoint, KEPT, tmp_path / "new" / "cut", config=CONFIG, card=CARD)
    assert not (tmp_path / "new").exists()


def test_a_source_that_shrinks_leaves_nothing(checkpoint, tmp_path, refused):
    os.truncate(checkpoint.folder / "model.safetensors", 3000)
    with refused(DataError, "shorter"):
        write_cut(checkpoint, KEPT, tmp_path / "cut", config=CONFIG, card=CARD)
    assert not (tmp_path / "cut").exists()


def test_only_an_empty_folder_is_replaced(checkpoint, tmp_path, refused):
    target = tmp_path / "cut"
    target.mkdir()
    write_cut(checkpoint, KEPT, target, config=CONFIG, card=CARD)
    with refused(RunStateError, "exists already"):
        write_cut(checkpoint, KEPT, target, config=CONFIG, card=CARD)
    with refused(RunStateError, "cannot be written"):
        write_cut(checkpoint, KEPT, target / "README.md" / "cut", config=CONFIG, card=CARD)


def test_layers_that_it_does_not_have(checkpoint, tmp_path, refused):
    with refused(RecipeError, "[0, 6)"):
        write_cut(checkpoint, (0, 6), tmp_path / "cut", config=CONFIG, card=CARD)


MEASURED = """
import resource, sys
from pathlib import Path
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.streaming import write_cut

if sys.argv[3] == "chunks":
    del __import__("os").copy_file_range
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder, target = Path(sys.argv[1]), Path(sys.argv[2])
write_cut(Checkpoint.open(folder), (0, 2, 3), target, config={}, card="", max_shard_bytes=60_000_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
print({"torch", "transformers", "safetensors"} & sys.modules.keys())
"""


@pytest.mark.parametrize("way", ["kernel", "chunks"])
def test_two_hundred_megabytes_pass_through_little_memory_without_torch(tmp_path, way):
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "parent"
    folder.mkdir()
    layers = {f"model.layers.{i}.mlp.weight": np.full((10_000, 1_000), i, np.float32) for i in range(4)}
    save_file(
        {**layers, "model.embed_tokens.weight": np.zeros((10_000, 1_000), np.float32)}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text('{"num_hidden_layers": 4}')
    run = subprocess.run([sys.executable, "-c", MEASURED, str(folder), str(tmp_path / "cut"), way], text=True,
                         capture_output=True, check=True)  # fmt: skip
    grown, imported = run.stdout.split("\n")[:2]
    assert int(grown) < 30
    assert imported == "set()"
    cut = Checkpoint.open(tmp_path / "cut")
    assert cut.n_bytes == 160_000_000
    assert len({place.file for place in cut.tensors.values()}) == 4
