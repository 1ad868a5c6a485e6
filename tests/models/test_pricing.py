import pytest

from tamis.errors import RecipeError
from tamis.models.pricing import Price, PriceTable


def written(tmp_path, text):
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_table_in_money():
    table = PriceTable.default()
    assert table.cost("gpt-4o-mini", 2_000_000, 1_000_000) == pytest.approx(2 * 0.15 + 0.60)
    assert table.cost("gpt-4o-mini", 2_000_000, 1_000_000, batch=True) == pytest.approx(0.45)
    # the derived cost of rating DS2's 300k samples: 165 M tokens in, 14 M out
    assert table.cost("gpt-4o-mini", 165_000_000, 14_000_000) == pytest.approx(33.15)
    assert table.as_of == "2026-11-22"
    sold = [price for name, price in table.prices.items() if name != "scripted"]
    assert all(0 < p.input < p.output and p.batch_discount == 0.5 for p in sold)


def test_a_local_model_costs_nothing_and_an_unknown_one_an_unknown_amount():
    table = PriceTable.default()
    assert table.cost(None, None, None) == 0.0
    assert table.cost("no-such-model", 10, 10) is None
    assert table.cost("gpt-4o", None, 10) is None
    assert table.cost("gpt-4o", 10, None) is None
    assert table.cost("gpt-4o", 0, 0) == 0.0
    assert (table.known(None), table.known("no-such-model"), table.known("gpt-4o")) == (True, False, True)


@pytest.mark.parametrize(
    ("key", "priced_as"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano"),
        ("gpt-4o-mini-20240718", "gpt-4o-mini"),
        ("gpt-4o-audio-preview", None),
        ("gpt-5-pro", None),
        ("gpt-4o-mini-search-preview-2025-03-11", None),
        ("gpt-4", None),
        ("127.0.0.1:8000/gpt-4o-mini", None),
        ("", None),
    ],
)
def test_only_dated_snapshots_share_a_price(key, priced_as):
    table = PriceTable.default()
    expected = table.prices[priced_as] if priced_as else None
    cost = table.cost(key, 1_000_000, 1_000_000)
    assert cost == (pytest.approx(expected.input + expected.output) if expected else None)
    assert table.known(key) is (expected is not None)


def test_the_users_file_goes_over_the_shipped_one(tmp_path):
    path = written(
        tmp_path,
        'as_of = 2027-01-01\n[models]\n"host.example/llama" = { input = 0, output = 1 }\n'
        '"gpt-4o" = { input = 3, output = 12, batch_discount = 0.25 }\n',
    )
    table = PriceTable.read(path)
    assert table.as_of == "2027-01-01"
    assert table.cost("host.example/llama", 5, 1_000_000) == 1.0
    assert table.cost("host.example/llama", 5, 1_000_000, batch=True) == 1.0
    assert table.prices["gpt-4o"] == Price(3.0, 12.0, 0.25)
    assert table.cost("gpt-4o-mini", 1_000_000, 0) == 0.15
    assert PriceTable.read(written(tmp_path, "")).as_of == PriceTable.default().as_of


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models", "is not valid TOML"),
        ("[model]", "unknown key 'model'. Did you mean 'models'"),
        ("models = 3", "must have a table [models]"),
        ('[models]\n"m" = 3', "at models.'m', must have { input = USD, output = USD }"),
        ('[models]\n"m" = { input = 3 }', "at models.'m', must have"),
        ('[models]\n"m" = { input = 3, output = "4" }', "a number in [0, inf) as output. Got '4'"),
        ('[models]\n"m" = { input = -3, output = 4 }', "as input. Got -3"),
        ('[models]\n"m" = { input = inf, output = 4 }', "as input. Got inf"),
        ('[models]\n"m" = { input = nan, output = 4 }', "as input. Got nan"),
        ('[models]\n"m" = { input = true, output = 4 }', "as input. Got True"),
        ('[models]\n"m" = { input = 1, output = 4, cached = 1 }', "unknown key 'cached'"),
        ("batch_discount = 50", "a number in [0, 1] as batch_discount. Got 50"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_that_names_the_key(tmp_path, text, message):
    with pytest.raises(RecipeError, match=r".") as caught:
        PriceTable.read(written(tmp_path, text))
    assert message in str(caught.value)
    assert "prices.toml" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"absent.toml cannot be read"):
        PriceTable.read(tmp_path / "absent.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'as_of = "\xe9"')
    with pytest.raises(RecipeError, match="no UTF-8"):
        PriceTable.read(path)
