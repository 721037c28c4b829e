"""workshop/builtin_data.py: XGBoost reads what it writes, and every usual mistake is refused."""

import sys

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

import titanic
from simulation import make_titanic
from workshop import builtin_data

GOOD = "0,3,1,22.5\n1,1,0,\n0,2,1,1e-3\n"  # a label and three features, one of them unknown


@pytest.fixture(params=["arrow", "lines"])
def reader(request, monkeypatch):
    """Both ways through a CSV file: Arrow's quick look, and the lines where Arrow is missing."""
    if request.param == "lines":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return request.param


@pytest.fixture(scope="module", params=[14, 5])
def passengers(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("list") / "list.csv"
    make_titanic.draw(seed=request.param).to_csv(path, index=False)
    return titanic.read(path)


def read_back(path):
    """Return features and labels as the built-in XGBoost's own loaders read them."""
    if path.suffix == ".parquet":
        values = pd.read_parquet(path).to_numpy()
        return values[:, 1:], values[:, 0]
    kind = path.suffix[1:]
    matrix = xgb.DMatrix(f"{path}?format={kind}{'&label_column=0' if kind == 'csv' else ''}")
    stored = matrix.get_data()
    values = np.full((matrix.num_row(), matrix.num_col()), np.nan, dtype=np.float32)
    for row in range(len(values)):
        here = slice(stored.indptr[row], stored.indptr[row + 1])
        values[row, stored.indices[here]] = stored.data[here]
    return values, matrix.get_label()


@pytest.mark.parametrize("ending", builtin_data.CONTENT_TYPES)
def test_xgboost_reads_back_the_very_features_and_labels(passengers, tmp_path, ending):
    path = builtin_data.write(passengers, tmp_path / f"list{ending}")
    values, labels = read_back(path)
    wanted = titanic.features(passengers).to_numpy()
    assert np.isnan(wanted).any()
    np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(labels, titanic.labels(passengers))
    assert builtin_data.check(path) == (891, 9, titanic.labels(passengers).sum())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_rows_keep_their_order_whatever_index_the_frame_has(passengers, tmp_path):
    shuffled = passengers.sample(frac=1, random_state=0)
    _, labels = read_back(builtin_data.write(shuffled, tmp_path / "list.csv"))
    np.testing.assert_array_equal(labels, titanic.labels(shuffled))


def test_another_ending_is_refused_and_nothing_written(passengers, tmp_path):
    with pytest.raises(titanic.DataError, match=r"must be \.csv, \.libsvm, \.parquet"):
        builtin_data.write(passengers, tmp_path / "list.txt")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(passengers, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("as it was")
    with pytest.raises(KeyError):
        builtin_data.write(passengers.drop(columns="Age"), path)
    assert path.read_text() == "as it was"
    assert [file.name for file in tmp_path.iterdir()] == ["list.csv"]


def test_a_good_file_is_counted(tmp_path, reader):
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    checked = builtin_data.check(path, features=3)
    assert checked == (3, 3, 1)
    assert str(checked) == "3 rows, 3 features, 1 of them labelled 1"


WRONG = {
    "header": ("Survived,Pclass,Female,Age\n" + GOOD, "first line is a header"),
    "numbered header": ("0,1,2,3\n" + GOOD, "first line is a header"),
    "text": (GOOD + "1,3,male,4\n", r"line 4, field 3: .*'male'.*encode text"),
    "truth values": (GOOD + "1,3,True,4\n", r"field 3: .*True.*astype\(int\)"),
    "word for nothing": (GOOD + "1,3,NaN,4\n", "found NaN; leave what is not known empty"),
    "infinite": (GOOD + "1,3,inf,4\n", "found inf"),
    "quotes": (GOOD + '1,3,"1",4\n', "numbers have no quotes"),
    "underscore": (GOOD + "1,1_000,1,4\n", "1_000"),
    "decimal comma": (GOOD + "1,3,1,4,5\n", "line 4: expected 4 fields .* found 5"),
    "row numbers": ("0,0,3,1,22\n1,1,1,0,3\n", "found 5; if the first is the row's number"),
    "one short": (GOOD + "1,3,1\n", "expected 4 fields .* found 3"),
    "semicolons": (GOOD.replace(",", ";"), "separated by semicolons"),
    "tabs": (GOOD.replace(",", "\t"), "separated by tabs"),
    "label last": ("3,1,22.5,0\n1,0,3,1\n", r"expected the label \(0 or 1\) first, found 3"),
    "passenger number": ("1,3,1,22\n693,1,0,3\n", "line 2: .*found 693"),
    "no label": (GOOD + ",3,1,4\n", "line 4, field 1: a row without a label"),
    "one outcome": ("1,3,1,22\n1,1,0,3\n", "every label is 1"),
    "byte order mark": ("\ufeff" + GOOD, "byte order mark"),
    "empty": ("", "empty"),
}


def test_blank_lines_are_passed_over_as_by_xgboost(tmp_path, reader):
    path = tmp_path / "good.csv"
    path.write_text(GOOD.replace("\n", "\n\n"))
    assert builtin_data.check(path, features=3) == (3, 3, 1)
    values, labels = read_back(path)
    assert (values.shape, labels.tolist()) == ((3, 3), [0, 1, 0])


@pytest.mark.parametrize("mistake", WRONG)
def test_what_people_get_wrong_in_csv_is_refused_in_one_sentence(tmp_path, reader, mistake):
    text, sentence = WRONG[mistake]
    path = tmp_path / "wrong.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(titanic.DataError, match=sentence) as caught:
        builtin_data.check(path, features=3)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_bytes_that_are_no_text_are_refused(tmp_path, reader):
    path = tmp_path / "wrong.csv"
    path.write_bytes(GOOD.encode() + b"1,\xff,1,2\n")
    with pytest.raises(titanic.DataError, match="UTF-8"):
        builtin_data.check(path, features=3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,3,1\n0,1,1\n", "expected a line such as"),
        ("1 0:3 1:x\n", "feature:value, found '1:x'"),
        ("1 0:3 qid:1\n", "feature:value"),
        ("1 1:3 2:1 3:2\n0 1:1\n", "features from 0 to 2, .* found 3 after 2"),  # counted from 1
        ("1 1:3 0:1\n", "in order"),
        ("1 0:3 0:1\n", "each once"),
        ("1 7:3\n", "from 0 to 2, found 7"),
        ("693 0:3\n", "found 693"),
        ("1 0:3\n", "every label is 1"),
        ("", "empty"),
    ],
)
def test_wrong_libsvm_is_refused(tmp_path, text, sentence):
    path = tmp_path / "wrong.libsvm"
    path.write_text(text)
    with pytest.raises(titanic.DataError, match=sentence):
        builtin_data.check(path, features=3)


TABLE = pd.DataFrame({"Survived": [0, 1], "a": [1.0, 2.0], "b": [3, 4], "c": [np.nan, 1.0]})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.set_index(pd.Index(["x", "y"])), "index as a column"),
        (lambda t: t[["a", "Survived", "b", "c"]], "Survived must be the first column, not a"),
        (lambda t: t.assign(d=1), "expected 4 columns .* found 5"),
        (lambda t: t.assign(b=["x", "y"]), "column b: expected numbers, found"),
        (lambda t: t.assign(b=[True, False]), "column b: expected numbers, found bool"),
        (lambda t: t.assign(Survived=[693, 1]), "row 1: .*found 693"),
        (lambda t: t.assign(Survived=[np.nan, 1]), "row 1: .*found nan"),
        (lambda t: t.head(0), "empty"),
    ],
)
def test_wrong_parquet_is_refused(tmp_path, change, sentence):
    path = tmp_path / "wrong.parquet"
    TABLE.to_parquet(path)
    assert builtin_data.check(path, features=3) == (2, 3, 1)
    change(TABLE).to_parquet(path)
    with pytest.raises(titanic.DataError, match=sentence):
        builtin_data.check(path, features=3)


def test_a_damaged_parquet_file_is_refused(tmp_path):
    path = tmp_path / "wrong.parquet"
    path.write_text(GOOD)
    with pytest.raises(titanic.DataError, match="not a readable Parquet file"):
        builtin_data.check(path, features=3)


def test_a_folder_is_one_channel(tmp_path):
    (tmp_path / "a.csv").write_text("0,3,1,22\n")  # one outcome in each, both in the channel
    (tmp_path / "b.csv").write_text("1,3,1,22\n")
    assert builtin_data.check(tmp_path, features=3) == (2, 3, 1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (".DS_Store", "hidden file .DS_Store"),
        ("b.libsvm", "one format only"),
        ("README.md", "ending says the format"),
    ],
)
def test_a_file_that_does_not_belong_into_the_channel_is_refused(tmp_path, name, sentence):
    (tmp_path / "a.csv").write_text(GOOD)
    (tmp_path / name).write_text(GOOD)
    with pytest.raises(titanic.DataError, match=sentence):
        builtin_data.check(tmp_path, features=3)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(titanic.DataError, match="no file in this folder"):
        builtin_data.check(tmp_path)
    with pytest.raises(titanic.DataError, match="no such file or folder"):
        builtin_data.check(tmp_path / "none")


def test_the_raw_list_is_refused(tmp_path, reader):
    make_titanic.draw().to_csv(tmp_path / "raw.csv", index=False)
    with pytest.raises(titanic.DataError, match="first line is a header"):
        builtin_data.check(tmp_path / "raw.csv")


def test_a_model_gets_our_features_names_only_where_it_has_as_many(tmp_path):
    random = np.random.default_rng(0)
    for width, names in ((len(titanic.FEATURES), list(titanic.FEATURES)), (3, None)):
        x, y = random.normal(size=(50, width)), random.integers(0, 2, 50)
        model = xgb.train({}, xgb.DMatrix(x, label=y), 2)
        (tmp_path / builtin_data.MODEL_FILE).write_bytes(model.save_raw("ubj"))
        assert builtin_data.load_model(tmp_path).feature_names == names


@pytest.mark.parametrize("cut", [slice(100), slice(0), slice(0, -1), slice(1, None)])
def test_half_a_model_is_refused(cut, tmp_path):
    """XGBoost 3.2 itself ends the whole process at some of these."""
    model = xgb.train({}, xgb.DMatrix(np.eye(3), label=[0, 1, 0]), 2).save_raw("ubj")
    (tmp_path / builtin_data.MODEL_FILE).write_bytes(bytes(model)[cut])
    with pytest.raises(titanic.DataError, match="no complete XGBoost model"):
        builtin_data.load_model(tmp_path)


def test_no_model_is_refused(tmp_path):
    with pytest.raises(titanic.DataError, match="unpacked to"):
        builtin_data.load_model(tmp_path)
