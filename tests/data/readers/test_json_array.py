import pytest

from tamis.data import read
from tamis.errors import DataError


def test_elements_that_are_no_objects_are_rejected(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a"},\n "b", null, {"text": "d"}]')
    table = read(path)
    assert table.frame["text"].to_list() == ["a", "d"]
    assert table.rejects.select("line", "reason").rows() == [
        (2, "is no object but a str"),
        (3, "is no object but a NoneType"),
    ]


def test_a_json_file_of_lines_is_read_as_jsonl(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"text": "a"}\nbroken\n{"text": "b"}\n')
    table = read(path)
    assert (len(table), table.source.format, table.rejects["line"].to_list()) == (2, "jsonl", [2])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'[{"text": "a"},', "is no JSON: Expecting value at line 1, column 16; mend the file or write one object per"),
        (b'{\n"data": []\n}', "must hold an array of objects, found one dict; mend the file"),
        (b'[{"text": "caf\xe9"}]', "is no UTF-8: byte 0xe9 at offset 14; convert it to UTF-8"),
        (b"[" * 200_000, "cannot be read as JSON"),
        (b"[]", "has no usable rows: it is empty"),
    ],
)
def test_what_is_no_array(tmp_path, content, sentence):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path} {sentence}")
