import subprocess
import sys
from pathlib import Path

import pytest

from tamis.data import Table, read, write
from tamis.errors import DataError, RecipeError

SHARED = Path(__file__).parents[4] / "shared" / "data"


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"There is no file or folder .*a.jsonl; check the path."):
        read(tmp_path / "a.jsonl")


def test_unknown_suffix(tmp_path):
    (tmp_path / "a.jsnl").write_text("{}")
    with pytest.raises(DataError, match=r"suffix '.jsnl' of .* names no known format; .* Did you mean '.jsonl'\?"):
        read(tmp_path / "a.jsnl")
    (tmp_path / "a.parquet.gz").write_text("")
    with pytest.raises(DataError, match=r"a.parquet.gz cannot be gzipped"):
        read(tmp_path / "a.parquet.gz")


def test_format_for_odd_names(tmp_path):
    (tmp_path / "a.txt").write_text('{"text": "a"}\n')
    assert len(read(tmp_path / "a.txt", format="jsonl")) == 1
    with pytest.raises(
        RecipeError, match=r"The 'format' parameter of read must be one of jsonl, .* Did you mean 'jsonl'"
    ):
        read(tmp_path / "a.txt", format="jsonlines")
    with pytest.raises(RecipeError, match="The 'format' parameter of read is for paths, the source is a list"):
        read([{"text": "a"}], format="jsonl")


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    (tmp_path / "part-1.jsonl").write_text('{"text": "c"}\nbroken\n')
    (tmp_path / "part-0.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n')
    (tmp_path / ".tmp-part-2.jsonl").write_text('{"text": "hidden"}\n')
    (tmp_path / "README.md").write_text("no data")
    table = read(tmp_path)
    assert table.frame["text"].to_list() == ["a", "b", "c", "c"]
    assert table.ids[3] == f"{table.ids[2]}-1"
    assert table.rejects.select("file", "line").rows() == [(str(tmp_path / "part-1.jsonl"), 2)]


def test_shards_of_one_json_set_have_the_ids_of_the_whole(tmp_path):
    rows = [{"instruction": str(n), "input": "", "output": "x"} for n in range(6)]
    for name, part in (("a.csv", rows[:4]), ("b.csv", rows[4:])):
        write(Table.from_records(part), tmp_path / name)
    assert read(tmp_path).ids.to_list() == Table.from_records(rows).ids.to_list()


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"holds no data files .* among its 0 files"):
        read(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "b.csv").write_text("text\nb\n")
    with pytest.raises(DataError, match=r"holds files of several formats \(csv, jsonl\); choose with format="):
        read(tmp_path)
    assert read(tmp_path, format="csv").texts() == ["###assistant: b"]


def test_importing_the_package_is_light():
    heavy = "{'numpy', 'pandas', 'datasets', 'sklearn', 'torch', 'scipy'}"
    code = f"import sys, tamis.data; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "rows", "roles"),
    [
        ("dolly_3k/dolly_3k.jsonl.gz", 2996, ["prompt", "context", "response"]),
        ("lima/lima.jsonl.gz", 1029, ["prompt", "context", "response"]),
        ("vicuna80_gpt4_reviews/question.jsonl", 80, ["response"]),
    ],
)
def test_real_files(name, rows, roles, tmp_path):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the real data set {name} is not beside the project")
    table = read(path)
    assert (len(table), list(table.roles), table.rejects.height) == (rows, roles, 0)
    again = read(write(table, tmp_path / path.name))
    assert again.frame.equals(table.frame)
    assert again.ids.n_unique() == rows
