"""Two models whose losses may be subtracted, and those whose may not."""

from __future__ import annotations

import json
import shutil

import pytest

from tamis.curate.tokens.tokenizers import require_same_tokens
from tamis.errors import DataError
from tamis.models.causal_lm import find_model, load_tokenizer
from tamis.models.chat_tokens import encode_chats

CHATS = [[{"role": "user", "content": "say abc"}, {"role": "assistant", "content": "abc abd"}]] * 3


@pytest.fixture(scope="module")
def base(write_model, tmp_path_factory):
    return find_model(str(write_model(tmp_path_factory.mktemp("model") / "base")))


@pytest.fixture(scope="module")
def rows(base):
    return encode_chats(CHATS, ["r0", "r1", "r2"], load_tokenizer(base), max_length=200).rows


@pytest.fixture
def changed(base, tmp_path):
    """The base with another tokenizer.json."""

    def changed(change):
        folder = tmp_path / "other"
        shutil.copytree(base.folder, folder)
        path = folder / "tokenizer.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        change(found)
        path.write_text(json.dumps(found), encoding="utf-8")
        return find_model(str(folder))

    return changed


def test_the_same_tokenizer_is_the_same(base, changed, rows):
    require_same_tokens(base, base, rows)
    require_same_tokens(base, changed(lambda found: None), rows)


def test_a_token_that_is_added_behind_all_others_shifts_nothing(base, changed, rows):
    def add(found):
        vocabulary = found["model"]["vocab"]
        vocabulary["<added>"] = len(vocabulary)

    require_same_tokens(base, changed(add), rows)


def test_ids_that_were_shifted(base, changed, rows):
    def shift(found):
        vocabulary = found["model"]["vocab"]
        shifted = {name: i if i < 3 else i + 1 for name, i in vocabulary.items()}
        found["model"]["vocab"] = {**shifted, "<new>": 3}

    with pytest.raises(DataError, match=r"^The tokenizers of 'base' and 'other' differ \(id \d+ is '.*' in one and "):
        require_same_tokens(base, changed(shift), rows)


def test_two_names_that_were_swapped(base, changed, rows):
    def swap(found):
        vocabulary = found["model"]["vocab"]
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]

    with pytest.raises(DataError, match=r"is 'a' in one and 'b' in the other\): their losses cannot be compared"):
        require_same_tokens(base, changed(swap), rows)


def test_a_smaller_vocabulary(base, changed, rows):
    def cut(found):
        vocabulary = found["model"]["vocab"]
        found["model"]["vocab"] = {name: i for name, i in vocabulary.items() if i < 60}

    with pytest.raises(DataError, match=r"in one and None in the other"):
        require_same_tokens(base, changed(cut), rows)


def test_names_that_are_equal_and_cuts_that_are_not(base, changed, rows):
    """A merge is no new name for the ids in use, yet it makes other ids of the same text."""

    def merge(found):
        found["model"]["vocab"]["ab"] = len(found["model"]["vocab"])
        found["model"]["merges"] = [["a", "b"]]

    with pytest.raises(DataError, match=r"cut the record 'r0' into different tokens[^\n]*tuned from the base\.$"):
        require_same_tokens(base, changed(merge), rows)
