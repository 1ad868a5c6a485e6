import json

import pytest

from tamis.curate.rating.rubric import Criterion, Rubric
from tamis.errors import RecipeError

GOOD = """
role: You judge prose.
scale: {min: 0, max: 5}
overall: clarity
criteria:
  - name: clarity
    text: how clear it is
    anchors: {5: like glass, 0: like mud}
  - name: brevity
    text: how short it is
"""


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_is_what_ds2_asks_for():
    rubric = Rubric.default()
    assert [c.name for c in rubric.criteria] == ["rarity", "complexity", "informativeness", "overall"]
    assert (rubric.low, rubric.high, rubric.overall) == (1, 10, "overall")
    assert all(c.anchors[0][0] == 1 and c.anchors[-1][0] == 10 for c in rubric.criteria)
    assert "2410.10877" in rubric.source


def test_a_file_is_read_with_its_overall_criterion_last(tmp_path):
    rubric = Rubric.from_yaml(written(tmp_path, GOOD))
    assert rubric.name == "mine"
    assert [c.name for c in rubric.criteria] == ["brevity", "clarity"]
    assert rubric.criteria[1].anchors == ((0, "like mud"), (5, "like glass"))
    assert (rubric.low, rubric.high) == (0, 5)


def test_a_rubric_survives_json(tmp_path):
    rubric = Rubric.from_yaml(written(tmp_path, GOOD))
    assert Rubric.from_dict(json.loads(json.dumps(rubric.to_dict()))) == rubric


def test_the_digest_holds_what_ratings_depend_on(tmp_path):
    first = Rubric.from_yaml(written(tmp_path, GOOD))
    renamed = Rubric.from_yaml(written(tmp_path, GOOD + "name: another\nsource: a book\n"))
    reworded = Rubric.from_yaml(written(tmp_path, GOOD.replace("like mud", "like fog")))
    assert first.digest == renamed.digest != reworded.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (GOOD, "", "must hold the fields role and criteria. Got nothing"),
        (GOOD, "- a list", "must hold the fields"),
        (GOOD, "role: [unclosed", "is not valid YAML"),
        ("role:", "rule:", "unknown field 'rule'. Did you mean 'role'"),
        ("role: You judge prose.", "role: ' '", "must have a text as its role"),
        ("anchors: {5", "anchor: {5", "in criterion 1, has an unknown field 'anchor'. Did you mean 'anchors'"),
        ("overall: clarity\n", "", "has no criterion 'overall'"),
        ("overall: clarity\n", "overall: claritty\n", "Did you mean 'clarity'"),
        ("{min: 0, max: 5}", "{min: 5, max: 5}", "max is above its min. Got min 5 and max 5"),
        ("{min: 0, max: 5}", "{min: 9, max: 5}", "max is above its min"),
        ("{min: 0, max: 5}", "{min: 0, max: 30}", "a scale of 31 values"),
        ("{min: 0, max: 5}", "{min: 0, max: 5.5}", "an int as the max of its scale"),
        ("{min: 0, max: 5}", "{low: 0, max: 5}", "unknown field 'low'"),
        ("{min: 0, max: 5}", "5", "must have a scale such as"),
        ("name: brevity", "name: clarity", "names the criteria 'clarity' and 'clarity' alike"),
        ("name: brevity", "name: Clarity_", "alike"),
        ("name: brevity", "name: very short", "must be an identifier"),
        ("name: brevity", "name: 7up", "must be an identifier"),
        ("name: brevity", "nome: brevity", "unknown field 'nome'"),
        ("text: how short it is", "text:", "in criterion 2, must have a text as its text"),
        ("5: like glass", "6: like glass", "anchor 6 for 'clarity' outside its scale 0 to 5"),
        ("5: like glass", "top: like glass", "ints as the values of its anchors"),
        (GOOD, "role: x\ncriteria: []", "must list its criteria"),
        (GOOD, "role: x\ncriteria: [overall]", "in criterion 1, must have the fields name and text"),
    ],
)
def test_a_bad_rubric_is_refused_in_one_sentence_that_names_the_file(tmp_path, old, new, message):
    with pytest.raises(RecipeError, match=r".") as caught:
        Rubric.from_yaml(written(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"absent.yaml cannot be read: No such file"):
        Rubric.from_yaml(tmp_path / "absent.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"role: caf\xe9")
    with pytest.raises(RecipeError, match="no UTF-8"):
        Rubric.from_yaml(path)


def test_a_rubric_made_in_code_is_checked_too():
    with pytest.raises(RecipeError, match="overall criterion 'overall' last"):
        Rubric("r", "You judge.", (Criterion("overall", "good"), Criterion("rarity", "rare")))
    with pytest.raises(RecipeError, match="no criteria"):
        Rubric("r", "You judge.", ())
