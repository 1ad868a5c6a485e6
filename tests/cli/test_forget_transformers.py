"""``tamis forget`` on texts and images: small models of transformers in folders, trained here."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.models.classifier import find_classifier, load_classifier
from tamis.runs.digests import derive_seed
from tamis.train import TrainSettings, train
from tamis.train.labelled import CrossEntropy, LabelledExamples
from tamis.train.seeded import seeded

TOPICS = {
    "sports": "match goal team coach league player score win referee season",
    "science": "atom cell theory orbit protein lab quantum enzyme telescope data",
    "cooking": "butter oven recipe sauce bake garlic flour spoon simmer dough",
}
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
FILLING = ["the", "a", "of", "and", "in", "with", "some", "about", "very", "then"]


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def texts(n, seed):
    """Sentences of words of one topic and of none, and their topics."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(list(TOPICS), n)
    words = [[*rng.choice(TOPICS[each].split(), 3), *rng.choice(FILLING, rng.integers(2, 9))] for each in topics]
    return [" ".join(rng.permutation(each)) for each in words], topics


def fitted(make, inputs, labels, epochs):
    import torch

    with seeded(derive_seed(0, "weights"), torch.device("cpu")):
        network = make()
    settings = TrainSettings(epochs=epochs, batch_rows=16, micro_tokens=16, learning_rate=3e-3, tune="full",
                             precision="float32")  # fmt: skip
    train(network, CrossEntropy(LabelledExamples.of(inputs, labels)), settings)
    return network


@pytest.fixture(scope="module")
def text_world(tmp_path_factory):
    """A small BERT that knows three topics, with a WordPiece tokenizer of the words of the training texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("texts")
    for name, n in (("data", 150), ("test", 60), ("held_out", 45)):
        said, topics = texts(n, seed=n)
        rows = pl.DataFrame({"id": [f"{name}-{i}" for i in range(n)], "text": said, "label": topics})
        rows.write_ndjson(folder / f"{name}.jsonl")
        if name == "data":
            learned, labels = said, topics
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    words = [*special.values(), *sorted({word for each in learned for word in each.split()})]
    pieces = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=32, **special)
    names = dict(enumerate(TOPICS))
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, num_labels=3, id2label=names,
                        label2id={name: i for i, name in names.items()}, **SMALL)  # fmt: skip
    tokens = dict(tokenizer(learned, padding=True, return_tensors="pt"))
    numbers = [list(TOPICS).index(each) for each in labels]
    network = fitted(lambda: BertForSequenceClassification(config), tokens, numbers, epochs=16)
    network.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def forgotten_topic(text_world):
    """A run that forgets the class sports, compared with training anew."""
    out = text_world / "runs" / "sports"
    result = call("forget", text_world / "model", "--data", text_world / "data.jsonl", "--class", "sports",
                  "--held-out", text_world / "held_out.jsonl", "--test", text_world / "test.jsonl", "--epochs", 16,
                  "--learning-rate", 0.03, "--batch-rows", 16, "--retrain", "--retrain-epochs", 16,
                  "--retrain-learning-rate", 3e-3, "--retrain-batch-rows", 16,
                  "--out", out, "--json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), out


class TestTexts:
    def test_the_class_is_forgotten_and_the_rest_is_not(self, forgotten_topic):
        metrics = forgotten_topic[0]["metrics"]
        assert metrics["original"]["UA"][0] < 5
        assert metrics["edited"]["UA"][0] > 80
        assert metrics["edited"]["RA"][0] > 95
        assert metrics["retrained"]["UA"][0] == 100
        assert metrics["retrained"]["RA"][0] > 95
        assert any("--retrain-from" in each for each in forgotten_topic[0]["warnings"])

    def test_the_report_names_the_classes(self, forgotten_topic):
        found = json.loads(next(forgotten_topic[1].glob("steps/*-decide/findings.json")).read_text())
        assert found["model"]["classes"] == list(TOPICS)
        assert "cooking" in (forgotten_topic[1] / "report.html").read_text()

    def test_the_folder_loads_as_the_one_that_came_in(self, text_world, forgotten_topic):
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = forgotten_topic[1] / "model"
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        with torch.inference_mode():
            said = network(**tokenizer("butter oven garlic", return_tensors="pt")).logits
        assert network.config.id2label[int(said.argmax())] == "cooking"
        assert (folder / "tokenizer.json").read_bytes() == (text_world / "model" / "tokenizer.json").read_bytes()
        certified = json.loads((forgotten_topic[1] / "certificate" / "certificate.json").read_text())["model_files"]
        assert {"tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"} <= certified.keys()

    def test_its_certificate_holds(self, forgotten_topic):
        said = json.loads(call("forget", "verify", forgotten_topic[1], "--json").stdout)
        assert (said["holds"], said["not_checked"]) == (True, [])

    def test_the_same_call_ends_in_the_same_bytes(self, text_world, forgotten_topic):
        """Dropout draws from the seed; labels may be numbers."""
        rows = pl.read_ndjson(text_world / "data.jsonl")
        numbers = rows["label"].replace_strict({name: i for i, name in enumerate(TOPICS)})
        rows.with_columns(label=numbers).write_ndjson(text_world / "numbers.jsonl")
        out = text_world / "other" / "run"
        result = call("forget", text_world / "model", "--data", text_world / "numbers.jsonl", "--class", 0,
                      "--held-out", text_world / "held_out.jsonl", "--epochs", 16, "--learning-rate", 0.03,
                      "--batch-rows", 16, "--out", out)  # fmt: skip
        assert result.exit_code == 0, result.stderr
        weights = "model/model.safetensors"
        assert (out / weights).read_bytes() == (forgotten_topic[1] / weights).read_bytes()

    def test_another_column_or_length_is_another_edit(self, text_world):
        rows = pl.read_ndjson(text_world / "data.jsonl")
        rows.with_columns(title=pl.col("text").str.slice(0, 12)).write_ndjson(text_world / "titled.jsonl")
        given = ("forget", text_world / "model", "--data", text_world / "titled.jsonl", "--share", 0.1, "--epochs", 1)
        made = []
        for number, more in enumerate(((), ("--text", "title"), ("--max-length", 3))):
            out = text_world / "columns" / f"run-{number}"
            assert call(*given, *more, "--out", out).exit_code == 0
            made.append((out / "model" / "model.safetensors").read_bytes())
        assert len(set(made)) == 3

    def test_training_anew_from_the_checkpoint_that_it_began_from(self, text_world, tmp_path):
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig.from_pretrained(text_world / "model")
        with seeded(1, __import__("torch").device("cpu")):
            base = BertForMaskedLM(config)
        base.save_pretrained(tmp_path / "base")
        given = ("forget", text_world / "model", "--data", text_world / "data.jsonl", "--share", 0.1, "--epochs", 1,
                 "--retrain", "--retrain-epochs", 0.1, "--retrain-learning-rate", 1e-9)  # fmt: skip
        result = call(*given, "--retrain-from", tmp_path / "base", "--out", tmp_path / "runs" / "a")
        assert result.exit_code == 0, result.stderr
        folder = next((tmp_path / "runs" / "a").glob("steps/*retrained-0/model"))
        assert "--retrain-from" not in result.stdout
        anew = load_classifier(find_classifier(str(folder)))
        before = base.bert.embeddings.word_embeddings.weight.detach().numpy()
        np.testing.assert_allclose(anew.bert.embeddings.word_embeddings.weight.detach().numpy(), before, atol=1e-6)
        BertForMaskedLM(BertConfig(**{**config.to_dict(), "hidden_size": 16})).save_pretrained(tmp_path / "other")
        result = call(*given, "--retrain-from", tmp_path / "other", "--out", tmp_path / "runs" / "b")
        assert result.exit_code == 2
        assert "was not fine-tuned from" in result.stderr


class TestBadTexts:
    @pytest.mark.parametrize(
        ("change", "options", "words"),
        [
            (pl.col("text").alias("sentence"), ("--text", "sentense"), "Did you mean 'sentence'"),
            (pl.lit(3).alias("number"), ("--text", "number"), "must hold strings"),
            (pl.lit("sport").alias("label"), (), "'sport'"),
            (pl.lit(7).alias("label"), (), "no classes of the model"),
            (pl.lit(1).alias("x"), ("--max-length", 33), "[1, 32]"),
            (pl.lit(1).alias("x"), ("--image", "x"), "image classifiers"),
            (pl.lit(" ").alias("blank"), ("--text", "blank"), "150 of 150 texts"),
            (pl.when(pl.col("id") != "data-3").then("text").alias("text"), (), "in line 4"),
        ],
    )
    def test_data_that_do_not_fit(self, text_world, refused, change, options, words, tmp_path):
        pl.read_ndjson(text_world / "data.jsonl").with_columns(change).write_ndjson(tmp_path / "data.jsonl")
        refused(call("forget", text_world / "model", "--data", tmp_path / "data.jsonl", "--share", 0.1, *options,
                     "--out", tmp_path / "run"), words)  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "change", "words"),
        [
            ("tokenizer.json", None, "cannot be loaded"),
            ("tokenizer*", None, "has no tokenizer"),
            ("config.json", {"pad_token_id": None}, "no padding token"),
            ("config.json", {"problem_type": "multi_label_classification"}, "several labels"),
        ],
    )
    def test_a_folder_that_lacks_something(self, text_world, refused, name, change, words, tmp_path):
        model = shutil.copytree(text_world / "model", tmp_path / "model")
        for path in model.glob(name):
            if change is None:
                path.unlink()
            else:
                path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        refused(call("forget", model, "--data", text_world / "data.jsonl", "--share", 0.1, "--out", tmp_path / "run"),
                words)  # fmt: skip

    def test_arrays_are_no_texts(self, text_world, refused, tmp_path):
        np.savez(tmp_path / "data.npz", x=np.zeros((3, 4)), y=np.arange(3))
        refused(call("forget", text_world / "model", "--data", tmp_path / "data.npz", "--share", 0.1,
                     "--out", tmp_path / "run"), "classifies texts")  # fmt: skip


@pytest.fixture(scope="module")
def image_world(tmp_path_factory):
    """A small ViT that knows four digits, which are PNG files."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    folder = tmp_path_factory.mktemp("images")
    (folder / "png").mkdir()
    pixels, digits = load_digits(n_class=4, return_X_y=True)
    names = [f"png/{i:03d}.png" for i in range(len(digits))]
    images = [Image.fromarray((each.reshape(8, 8) * 15.9).astype(np.uint8)) for each in pixels]
    for image, name in zip(images, names, strict=True):
        image.save(folder / name)
    rows = pl.DataFrame({"image": names, "label": [f"digit {each}" for each in digits]})
    rows[:300].write_csv(folder / "data.csv")
    rows[300:500].write_csv(folder / "test.csv")
    rows[500:].write_csv(folder / "held_out.csv")
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    made = processor([each.convert("RGB") for each in images], return_tensors="np")["pixel_values"]
    config = ViTConfig(image_size=8, patch_size=4, num_labels=4, id2label={i: f"digit {i}" for i in range(4)}, **SMALL)
    network = fitted(lambda: ViTForImageClassification(config), {"pixel_values": made[:300]}, digits[:300], epochs=8)
    network.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    np.savez(folder / "data.npz", x=made[:300], y=digits[:300])
    return folder


@pytest.fixture(scope="module")
def forgotten_digit(image_world):
    out = image_world / "runs" / "digit"
    result = call("forget", image_world / "model", "--data", image_world / "data.csv", "--class", "digit 3",
                  "--held-out", image_world / "held_out.csv", "--test", image_world / "test.csv", "--epochs", 8,
                  "--out", out, "--json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), out


class TestImages:
    def test_the_class_is_forgotten_and_the_rest_is_not(self, forgotten_digit):
        metrics = forgotten_digit[0]["metrics"]
        assert metrics["original"]["UA"][0] < 10
        assert metrics["edited"]["UA"][0] > 80
        assert metrics["edited"]["RA"][0] > 90

    def test_the_folder_loads_as_the_one_that_came_in(self, image_world, forgotten_digit):
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        folder = forgotten_digit[1] / "model"
        assert AutoImageProcessor.from_pretrained(folder, local_files_only=True).size["height"] == 8
        assert AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).config.num_labels == 4

    def test_images_that_changed_are_not_checked(self, image_world, forgotten_digit):
        assert "not checked" not in call("forget", "verify", forgotten_digit[1]).stdout
        path = image_world / "png" / "000.png"
        before = path.read_bytes()
        shutil.copyfile(image_world / "png" / "001.png", path)
        try:
            result = call("forget", "verify", forgotten_digit[1])
        finally:
            path.write_bytes(before)
        assert result.exit_code == 0
        assert "not checked: predictions on the data file: the images" in result.stdout

    def test_arrays_of_pixel_values(self, image_world, refused, tmp_path):
        given = ("forget", image_world / "model", "--class", "digit 3", "--epochs", 1)
        result = call(*given, "--data", image_world / "data.npz", "--out", tmp_path / "run", "--json")
        assert json.loads(result.stdout)["metrics"]["original"]["UA"][0] < 10
        np.savez(tmp_path / "data.npz", x=np.zeros((3, 3, 9, 9)), y=np.arange(3))
        refused(call(*given, "--data", tmp_path / "data.npz", "--out", tmp_path / "no"), "(N, 3, 8, 8)")

    def test_a_teacher_that_knows_nothing(self, image_world, tmp_path):
        result = call("forget", image_world / "model", "--data", image_world / "data.csv", "--class", "digit 3",
                      "--method", "bad-teacher", "--learning-rate", 0.1, "--json", "--out", tmp_path / "a")  # fmt: skip
        assert json.loads(result.stdout)["metrics"]["edited"]["UA"][0] > 20

    def test_a_changed_image_is_another_edit(self, image_world, tmp_path):
        copy = shutil.copytree(image_world, tmp_path / "world", ignore=shutil.ignore_patterns("runs"))
        given = ("forget", copy / "model", "--data", copy / "data.csv", "--share", 0.1, "--epochs", 1)
        assert call(*given, "--out", copy / "runs" / "a").exit_code == 0
        shutil.copyfile(copy / "png" / "001.png", copy / "png" / "000.png")
        assert call(*given, "--out", copy / "runs" / "b").exit_code == 0
        assert "reused" not in (copy / "runs" / "b" / "ledger.jsonl").read_text()

    def test_files_that_are_no_images(self, image_world, refused, tmp_path):
        copy = shutil.copytree(image_world, tmp_path / "world", ignore=shutil.ignore_patterns("runs"))
        given = ("forget", copy / "model", "--data", copy / "data.csv", "--share", 0.1, "--out", tmp_path / "run")
        (copy / "png" / "004.png").unlink()
        (copy / "png" / "007.png").write_bytes((copy / "png" / "006.png").read_bytes()[:40])
        refused(call(*given), "2 of 300 images", "'png/004.png', 'png/007.png'")
        (copy / "model" / "preprocessor_config.json").unlink()
        refused(call(*given), "has no image processor")
