"""What a checkpoint holds is read from its headers, and what is wrong with it is said in a sentence."""

from __future__ import annotations

import json
import struct

import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.safetensors_header import read_header, write_header

LLAMA = {"model_type": "llama", "num_hidden_layers": 2}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of two layers of one number each, to be damaged."""

    def make(tensors=("a.layers.0.w", "a.layers.1.w", "norm.w"), config=LLAMA, file="model.safetensors"):
        write(tmp_path / file, tensors)
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return make


def write(path, tensors, content=None):
    entries = dict.fromkeys(tensors, ("F32", (1,), 4))
    path.write_bytes(write_header(entries) + (b"\0" * 4 * len(entries) if content is None else content))


def raw(path, header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def sharded(folder, weight_map, **shards):
    (folder / "model.safetensors").unlink()
    for name, tensors in shards.items():
        write(folder / f"{name}.safetensors", tensors)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize(
    ("family", "prefix"),
    [("llama", "model.layers."), ("gpt2", "transformer.h."), ("gpt_neox", "gpt_neox.layers."),
     ("opt", "model.decoder.layers."), ("falcon", "transformer.h."), ("mixtral", "model.layers.")],
)  # fmt: skip
def test_layers_are_found_by_structure(saved, load, family, prefix):
    checkpoint, network = Checkpoint.open(saved(family)), load(saved(family))
    assert (checkpoint.prefix, checkpoint.n_layers) == (prefix, 6)
    assert checkpoint.n_parameters() == sum(parameter.numel() for parameter in network.parameters())
    assert checkpoint.dtype_bytes == {"F32": checkpoint.n_bytes}
    assert checkpoint.n_bytes == 4 * checkpoint.n_parameters()
    in_layer = sum(checkpoint.tensors[name].n_elements for name in checkpoint.names_of(3))
    assert checkpoint.n_parameters(kept=(0, 1, 2, 4, 5)) == checkpoint.n_parameters() - in_layer
    assert checkpoint.layer_of(checkpoint.names_of(3)[0]) == 3
    assert {checkpoint.layer_of(name) for name in checkpoint.tensors} == {None, *range(6)}


def test_our_header_is_the_one_that_safetensors_reads(tmp_path):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    save_file({"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.ones((), np.int64)}, tmp_path / "theirs")
    places = read_header(tmp_path / "theirs")
    assert {name: (p.dtype, p.shape, p.n_bytes) for name, p in places.items()} == {
        "a": ("I64", (), 8), "b": ("F16", (2, 3), 12)}  # fmt: skip
    write(tmp_path / "ours.safetensors", ["x", "ÿ"], struct.pack("<2f", 1.5, 2.5))
    assert {name: float(value[0]) for name, value in load_file(tmp_path / "ours.safetensors").items()} == {
        "x": 1.5, "ÿ": 2.5}  # fmt: skip


def test_a_vision_tower_of_as_many_layers_is_not_taken_for_the_decoder(folder):
    tensors = [
        f"{prefix}.layers.{i}.w" for prefix in ("model.vision_tower.encoder", "model.language_model") for i in (0, 1)
    ]
    config = {"model_type": "gemma3", "text_config": LLAMA, "vision_config": {"num_hidden_layers": 2}}
    assert Checkpoint.open(folder(tensors, config)).prefix == "model.language_model.layers."


def test_layers_that_the_configuration_does_not_count_are_counted(folder):
    checkpoint = Checkpoint.open(folder(config={"model_type": "llama"}))
    assert (checkpoint.n_layers, checkpoint.prefix) == (2, "a.layers.")


def test_a_folder_that_lacks_files(tmp_path, folder, refused):
    with refused(DataError, "config.json"):
        Checkpoint.open(tmp_path)
    (folder() / "model.safetensors").unlink()
    with refused(DataError, "neither model.safetensors nor"):
        Checkpoint.open(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with refused(DataError, "save_pretrained"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"'])
def test_a_configuration_that_is_none(folder, refused, content):
    path = folder() / "config.json"
    path.write_text(content)
    with refused(DataError, str(path)):
        Checkpoint.open(path.parent)


@pytest.mark.parametrize("kept_bytes", [0, 5, 8, 60, -1])
def test_a_file_that_is_cut_short(folder, refused, kept_bytes):
    path = folder() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with refused(DataError, str(path), "again"):
        Checkpoint.open(path.parent)


@pytest.mark.parametrize(
    ("header", "content", "word"),
    [
        (b"{no json}", b"", "JSON"),
        (b"\xff\xfe{}", b"", "JSON"),
        ([1], b"", "expected an object"),
        ({"w": 3}, b"", "'w'"),
        ({"w": {"dtype": "F32", "shape": [1]}}, b"", "'w'"),
        ({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"", "'w'"),
        ({"w": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}, b"0000", "F31"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"0000", "expected 8"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"0" * 8, "expected"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"0" * 9, "end at byte"),
        ({n: {"dtype": "F32", "shape": [2], "data_offsets": [a, a + 8]} for n, a in (("w", 0), ("v", 4))}, b"0" * 12,
         "begins at byte"),
    ],
)  # fmt: skip
def test_a_header_that_is_damaged(folder, refused, header, content, word):
    path = folder() / "model.safetensors"
    raw(path, header, content)
    with refused(DataError, str(path), word):
        Checkpoint.open(path.parent)


def test_shards_that_do_not_fit_their_index(folder, refused):
    whole = {"a.layers.0.w": "x.safetensors", "a.layers.1.w": "y.safetensors"}
    shards = {"x": ["a.layers.0.w"], "y": ["a.layers.1.w"]}
    assert Checkpoint.open(sharded(folder(), whole, **shards)).n_layers == 2
    with refused(DataError, "is missing"):
        Checkpoint.open(sharded(folder(), whole | {"n": "z.safetensors"}, **shards))
    with refused(DataError, "'n'", "x.safetensors", "does not"):
        Checkpoint.open(sharded(folder(), whole | {"n": "x.safetensors"}, **shards))
    with refused(DataError, "'extra'", "nowhere"):
        Checkpoint.open(sharded(folder(), whole, x=["a.layers.0.w", "extra"], y=["a.layers.1.w"]))
    swapped = {"a.layers.0.w": "y.safetensors", "a.layers.1.w": "x.safetensors"}
    with refused(DataError, "by the index it is in"):
        Checkpoint.open(sharded(folder(), swapped, **shards))
    with refused(DataError, "same folder"):
        Checkpoint.open(sharded(folder(), whole | {"n": "../z.safetensors"}, **shards))
    with refused(DataError, "no weight_map"):
        Checkpoint.open(sharded(folder(), [], **shards))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (["norm.w", "head.w"], ["No layers"]),
        (["a.layers.0.w", "norm.w"], ["missing", "N = 1"]),
        (["a.layers.0.w", "a.layers.1.w", "a.layers.2.eh_proj.w", "a.layers.2.w"],
         ["beyond the 2", "a.layers.2.eh_proj.w and 1 more", "multi-token"]),
        (["a.layers.0.w", "a.layers.1.w", "b.layers.0.w", "b.layers.1.w"], ["ambiguous", "a.layers.", "b.layers."]),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_told(folder, refused, tensors, words):
    with refused(DataError, *words):
        Checkpoint.open(folder(tensors))


def test_encoder_decoder_models_are_refused_by_name(folder, refused):
    with refused(RecipeError, "BartForConditionalGeneration"):
        Checkpoint.open(folder(config={"architectures": ["BartForConditionalGeneration"], "decoder_layers": 2}))


def test_a_folder_that_is_none(tmp_path, refused):
    with refused(DataError, "config.json"):
        Checkpoint.open(tmp_path / "nowhere")
