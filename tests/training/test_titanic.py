"""The passenger schema: what it reads, what it refuses by which message, what models get."""

from __future__ import annotations

import io
import shutil
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import titanic
from titanic import DataError

DATA = Path(__file__).resolve().parents[2] / "data"

HEADER = ",".join(titanic.COLUMNS)
LINES = [
    '1,0,3,"Ashdown, Mr. Ned",male,22,1,0,A/5 1001,7.25,,S',
    '2,1,1,"Bell, Mrs. John ""Nell"" (Ada Cray)",female,38.5,1,0,PC 2002,71.2833,C85,C',
    '3,1,3,"Crane, Miss. Eva",female,,0,0,STON/O2. 3003,7.925,,Q',
    "4,0,2,Dale Master,male,0.42,0,2,4004,0,B57 B59,",
    '5,0,1,"Élan, Mr. Zoë",male,61,0,0,5005,,,S',
]


def csv(*lines: str, header: str = HEADER) -> str:
    return "\n".join((header, *lines)) + "\n"


def with_value(column: str, value: str, row: int) -> str:
    """Return the good list, but for one value; no field before Name, or after it, holds a comma."""
    frame = pd.read_csv(io.StringIO(csv(*LINES)), dtype=str, keep_default_na=False)
    frame.loc[row - 1, column] = value
    return frame.to_csv(index=False)


@pytest.fixture(params=["arrow", "plain"])
def reader(request, monkeypatch):
    """Both readers: Arrow's, and the plain one in use where pyarrow is missing."""
    if request.param == "plain":
        pd.Series(["text", None]).isna()  # pandas has pyarrow already: let it load all it needs
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    return request.param


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(csv(*LINES), encoding="utf-8")
    return path


def refusal(text: str | bytes, tmp_path: Path, columns=titanic.COLUMNS) -> str:
    """Return the sentence with which a file of this content is refused."""
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        titanic.read(path, columns)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(str(path))
    return sentence.replace(str(path), "list.csv")


# --- what it reads --------------------------------------------------------------------------------


def test_reads_the_public_files_quirks(good, reader):
    frame = titanic.read(good)
    assert tuple(frame.columns) == titanic.COLUMNS
    assert frame["Name"].tolist() == [
        "Ashdown, Mr. Ned",
        'Bell, Mrs. John "Nell" (Ada Cray)',
        "Crane, Miss. Eva",
        "Dale Master",
        "Élan, Mr. Zoë",
    ]
    assert frame["Ticket"].tolist()[3:] == ["4004", "5005"]  # a ticket is text, all digits or not
    assert frame["Age"].isna().tolist() == [False, False, True, False, False]
    assert frame["Fare"].isna().tolist() == [False, False, False, False, True]
    assert frame["Cabin"].isna().tolist() == [True, False, True, False, True]
    assert frame["Embarked"].isna().tolist() == [False, False, False, True, False]
    assert titanic.labels(frame).tolist() == [0, 1, 1, 0, 0]


def test_types_are_fixed(good, reader):
    kinds = {name: str(kind) for name, kind in titanic.read(good).dtypes.items()}
    integers = ("PassengerId", "Survived", "Pclass", "SibSp", "Parch")
    assert all(kinds[name] == "int64" for name in integers)
    assert kinds["Age"] == kinds["Fare"] == "float64"
    assert kinds["Sex"] == kinds["Embarked"] == "category"


@pytest.mark.parametrize("name", ["titanic_train.csv", "titanic_test.csv"])
def test_shipped_lists_are_read_alike_by_both_readers_and_by_pandas(name, monkeypatch):
    arrow = titanic.read(DATA / name)
    monkeypatch.setattr(titanic, "_arrow_csv", lambda opened, columns: iter([None]))
    plain = titanic.read(DATA / name)
    pd.testing.assert_frame_equal(arrow, plain, check_exact=True)
    by_pandas = pd.read_csv(DATA / name)
    assert len(arrow) == len(by_pandas) > 100
    for column in titanic.COLUMNS:
        assert arrow[column].astype(object).fillna("-").tolist() == (
            by_pandas[column].astype(object).fillna("-").tolist()
        ), column


def test_the_next_chunk_is_read_while_one_is_worked_on():
    asked = [threading.Event() for _ in range(3)]

    def read():
        for chunk, event in enumerate(asked):
            event.set()
            yield chunk

    chunks = titanic._ahead(read())
    for chunk in range(2):
        assert next(chunks) == chunk
        assert asked[chunk + 1].wait(20)
    assert list(chunks) == [2]


def test_what_goes_wrong_in_reading_ahead_is_raised_after_what_was_read():
    def read():
        yield 1
        raise MemoryError("too large")

    chunks = titanic._ahead(read())
    assert next(chunks) == 1
    with pytest.raises(MemoryError, match="too large"):
        next(chunks)


def test_reading_ahead_ends_with_who_reads():
    chunks = titanic._ahead(iter(range(10)))
    assert next(chunks) == 0
    before = threading.active_count()
    chunks.close()
    assert threading.active_count() == before - 1


def test_readers_give_equal_bits_for_any_number(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    ages = random.uniform(0, 120, 2000)
    lines = [f"{i},0,1,x,male,{age!r},0,0,t,{age * 3!r},,S" for i, age in enumerate(ages.tolist())]
    path = tmp_path / "list.csv"
    path.write_text(csv(*lines))
    arrow = titanic.read(path)
    monkeypatch.setattr(titanic, "_arrow_csv", lambda opened, columns: iter([None]))
    assert (titanic.read(path)["Age"].to_numpy() == ages).all()
    assert (arrow["Age"].to_numpy() == ages).all()
    pd.testing.assert_frame_equal(arrow, titanic.read(path), check_exact=True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(csv(*LINES).replace("\n", "\r\n"), id="windows line ends"),
        pytest.param("\ufeff" + csv(*LINES), id="byte order mark"),
        pytest.param(csv(*LINES).rstrip("\n"), id="no last line end"),
        pytest.param(csv(LINES[0], "", *LINES[1:], "", ""), id="blank lines"),
        pytest.param(csv(*LINES).replace("Crane, Miss", "Crane,\nMiss"), id="line end in a name"),
        pytest.param(csv(*LINES).replace(",22,", ",2.2e1,"), id="exponent"),
        pytest.param(csv(*LINES).replace(",22,", ", 22,"), id="blank before a number"),
        pytest.param(csv(*LINES).replace("1,0,3,", "1.0,0.0,3.0,"), id="whole number with a point"),
        pytest.param(csv(*LINES).replace(",,0,0,STON", ',"",0,0,STON'), id="quoted nothing"),
        pytest.param(csv(*LINES).replace(",,0,0,STON", ",nan,0,0,STON"), id="nan"),
    ],
)
def test_harmless_variants_give_the_same_features(text, good, tmp_path, reader):
    other = tmp_path / "other.csv"
    other.write_bytes(text.encode())
    pd.testing.assert_frame_equal(
        titanic.features(titanic.read(other)), titanic.features(titanic.read(good))
    )


def test_good_files_are_read_the_fast_way(tmp_path, monkeypatch):
    """Also where a line end in a name falls on the border of Arrow's blocks of a megabyte."""

    def slow(*_):
        raise AssertionError("read by the slow reader")

    monkeypatch.setattr(titanic, "_plain_csv", slow)
    for name in ("titanic_train.csv", "titanic_test.csv"):
        assert len(titanic.read(DATA / name))
    long = tmp_path / "long.csv"
    line = LINES[0].replace("Ashdown, ", "Ash\ndown,\n" * 20)
    long.write_text(csv(*[line] * 10_000))
    assert long.stat().st_size > 2 * 2**20
    assert len(titanic.read(long)) == 10_000


def test_order_of_columns_and_extra_ones_do_not_matter(good, tmp_path, reader):
    frame = titanic.read(good)
    shuffled = frame[list(reversed(titanic.COLUMNS))].assign(Boat=[1, 2, 3, 4, 5])
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    pd.testing.assert_frame_equal(titanic.read(tmp_path / "shuffled.csv"), frame)


def test_a_name_that_reads_as_missing_is_a_name(tmp_path, reader):
    path = tmp_path / "list.csv"
    path.write_text(csv(LINES[3].replace("Dale Master", "NA"), LINES[3].replace("Dale", "null")))
    assert titanic.read(path)["Name"].tolist() == ["NA", "null Master"]


def test_passengers_without_labels(good, tmp_path, reader):
    titanic.read(good).drop(columns="Survived").to_csv(tmp_path / "new.csv", index=False)
    frame = titanic.read(tmp_path / "new.csv", titanic.SOURCES)
    assert titanic.features(frame).shape == (5, len(titanic.FEATURES))


class Body:
    """Like the body of an S3 object: it can be read once, and cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, amount: int | None = None) -> bytes:
        return self._content.read(amount)


def test_open_files(good, reader):
    frame = titanic.read(good)
    pd.testing.assert_frame_equal(titanic.read(Body(good.read_bytes())), frame)
    pd.testing.assert_frame_equal(titanic.read(io.BytesIO(good.read_bytes())), frame)
    pd.testing.assert_frame_equal(titanic.read(io.StringIO(good.read_text("utf-8"))), frame)
    with good.open("rb") as file:
        pd.testing.assert_frame_equal(titanic.read(file), frame)
        assert not file.closed  # the caller's to close
    with pytest.raises(DataError, match="the data: the file is empty"):
        titanic.read(Body(b""))


def test_a_channel_is_every_file_of_it_in_order(tmp_path, good, reader):
    channel = tmp_path / "train"
    (channel / "b").mkdir(parents=True)
    (channel / ".cache").mkdir()
    (channel / "c.csv").write_text(csv(LINES[0]))
    (channel / "a.CSV").write_text(csv(LINES[1]))
    (channel / "b" / "part.csv").write_text(csv(LINES[2]))
    (channel / "d.csv").write_text(csv())  # a shard may have a header alone
    for junk in (".hidden.csv", "_SUCCESS", "train-manifest", "README.md", ".cache/x.csv"):
        (channel / junk).write_text("not passengers")
    frame = titanic.read(channel)
    assert frame["PassengerId"].tolist() == [2, 3, 1]
    assert frame.index.tolist() == [0, 1, 2]
    assert str(frame["Sex"].dtype) == "category"  # joining files must not lose the type
    assert [path.name for path in titanic.data_files(channel)] == [
        "a.CSV",
        "part.csv",
        "c.csv",
        "d.csv",
    ]


def test_parquet_equals_csv(good, tmp_path):
    frame = titanic.read(good)
    frame.to_parquet(tmp_path / "typed.parquet")
    pd.read_csv(good).to_parquet(tmp_path / "as_pandas_reads.parquet")
    shutil.copy(tmp_path / "typed.parquet", tmp_path / "misnamed.csv")
    for name in ("typed.parquet", "as_pandas_reads.parquet", "misnamed.csv"):
        pd.testing.assert_frame_equal(titanic.read(tmp_path / name), frame)
    only = titanic.read(tmp_path / "typed.parquet", titanic.TRAINING_COLUMNS)
    assert tuple(only.columns) == titanic.TRAINING_COLUMNS


# --- as a stream ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_stream_is_the_features_and_labels_of_the_frame(dtype, monkeypatch):
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 5_000)
    frame = titanic.read(DATA / "titanic_train.csv")
    chunks = list(titanic.stream(DATA / "titanic_train.csv", dtype))
    assert len(chunks) > 5
    x, y = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, titanic.features(frame, dtype).to_numpy())
    np.testing.assert_array_equal(y, titanic.labels(frame))
    assert y.dtype == np.int8


def test_float64_features_are_exactly_what_the_file_says():
    frame = titanic.read(DATA / "titanic_train.csv")
    x = titanic.features(frame, "float64")
    np.testing.assert_array_equal(x["Fare"].to_numpy(), frame["Fare"].to_numpy())
    assert (titanic.features(frame)["Fare"].to_numpy() != frame["Fare"].to_numpy()).any()


def test_a_stream_needs_the_columns_of_a_training_alone(tmp_path):
    few = "Survived,Sex,Pclass,Age,SibSp,Parch,Fare,Embarked"
    (tmp_path / "few.csv").write_text(csv("1,male,3,,0,0,7,S", header=few))
    (tmp_path / "header.csv").write_text(csv(header=few))  # a shard may be without rows
    ((x, y),) = titanic.stream(tmp_path)
    assert x.tolist()[0][:2] == [3, 0]
    assert y.tolist() == [1]
    assert list(titanic.stream(tmp_path / "header.csv")) == []


def test_a_stream_has_the_rows_before_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 500)
    monkeypatch.setattr(titanic, "_CHUNK_ROWS", 10)
    path = tmp_path / "list.csv"
    path.write_text(csv(*LINES * 20, LINES[3].replace("male", "Male")))
    rows = []
    with pytest.raises(DataError, match=r"row 101 \(line 102\), column Sex"):
        rows.extend(len(y) for _, y in titanic.stream(path))
    assert 50 < sum(rows) <= 100


def test_of_a_chunk_the_stream_holds_no_frame(monkeypatch):
    """Otherwise memory would hold the rows twice, once as pandas has them."""
    frames = []
    labels = titanic.labels

    def noted(frame):
        frames.append(weakref.ref(frame))
        return labels(frame)

    monkeypatch.setattr(titanic, "labels", noted)
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 5_000)
    for _ in titanic.stream(DATA / "titanic_train.csv"):
        assert [frame for frame in frames if frame() is not None] == []
    assert len(frames) > 5


# --- what it refuses ------------------------------------------------------------------------------

BAD_VALUES = [
    ("PassengerId", "x7"),
    ("PassengerId", "1.5"),
    ("PassengerId", ""),
    ("Survived", "2"),
    ("Survived", "-1"),
    ("Survived", "0.5"),
    ("Survived", "yes"),
    ("Survived", "True"),
    ("Survived", ""),
    ("Pclass", "0"),
    ("Pclass", "4"),
    ("Pclass", "2.5"),
    ("Pclass", "3rd"),
    ("Pclass", ""),
    ("Sex", "Female"),
    ("Sex", "m"),
    ("Sex", "0"),
    ("Sex", " male"),
    ("Sex", ""),
    ("Age", "-3"),
    ("Age", "old"),
    ("Age", "NA"),
    ("Age", "inf"),
    ("Age", "-inf"),
    ("Age", "1e999"),
    ("Age", "22 years"),
    ("Age", "640"),
    ("SibSp", "-1"),
    ("SibSp", "1.5"),
    ("SibSp", "one"),
    ("SibSp", ""),
    ("Parch", "-2"),
    ("Parch", ""),
    ("Fare", "-7.25"),
    ("Fare", "$7"),
    ("Fare", "7.25.1"),
    ("Fare", "Infinity"),
    ("Embarked", "X"),
    ("Embarked", "Southampton"),
    ("Embarked", "s"),
]


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
@pytest.mark.parametrize("row", [1, 4])
def test_a_bad_value_is_named_with_its_place(column, value, row, tmp_path, reader):
    sentence = refusal(with_value(column, value, row), tmp_path)
    shown = sentence.partition(", found ")[2]
    if value == "":
        assert shown == "nothing"
    elif shown.startswith("'"):
        assert shown == repr(value)
    else:
        assert float(shown) == float(value)


def test_every_checked_column_has_bad_values_above():
    """So that a column added to the schema cannot go untested."""
    checked = set(titanic._NUMBERS) | set(titanic.CATEGORIES)
    assert checked == {column for column, _ in BAD_VALUES}
    assert checked | set(titanic._TEXTS) == set(titanic.COLUMNS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "list.csv: the file is empty", id="empty"),
        pytest.param(HEADER, "list.csv: there is a header but no row below it", id="header alone"),
        pytest.param("\n\n", "no column PassengerId", id="blank lines alone"),
        pytest.param(
            csv(*LINES).replace("Age", "age"), "list.csv: no column Age; expected", id="misspelt"
        ),
        pytest.param(
            csv(*LINES, header=HEADER.replace(",Fare", "")), "no column Fare", id="missing column"
        ),
        pytest.param(csv(*LINES[1:], header=LINES[0]), "no column PassengerId", id="no header"),
        pytest.param(csv(*LINES).replace(",", ";"), "no column PassengerId", id="semicolons"),
        pytest.param(csv(*LINES).replace(",", "\t"), "no column PassengerId", id="tabs"),
        pytest.param(
            csv(*LINES, header=HEADER.replace("Cabin", "Age")), "no column Cabin", id="renamed"
        ),
        pytest.param(
            csv(*(line + ",7" for line in LINES), header=HEADER + ",Age"),
            "column Age is there twice",
            id="column twice",
        ),
        pytest.param(
            csv(*LINES[:3], HEADER, *LINES[3:]),
            "list.csv, row 4 (line 5): the header again",
            id="header twice",
        ),
        pytest.param(csv(HEADER, *LINES), "row 1 (line 2): the header again", id="header at once"),
        pytest.param(
            csv(*LINES[:2], LINES[2] + ",9", *LINES[3:]),
            "list.csv, row 3 (line 4): expected 12 fields as in the header, found 13",
            id="a field too many",
        ),
        pytest.param(
            csv(*LINES[:4]) + LINES[4][:25],
            "list.csv, row 5 (line 6): expected 12 fields as in the header, found 5",
            id="cut off in a row",
        ),
        pytest.param(
            csv(LINES[0], "4,0,2,Dale,male,4,0,2,4004,0,B57", LINES[3]),
            "list.csv, row 2 (line 3): expected 12 fields as in the header, found 11",
            id="one field short",
        ),
        pytest.param(
            csv(LINES[0], LINES[1].replace('Cray)"', "Cray)"), *LINES[2:]),
            "list.csv, row ",
            id="quote never closed",
        ),
        pytest.param(bytes(range(256)) * 8, "expected CSV text in UTF-8", id="binary"),
        pytest.param(b"\0" * 500, "expected CSV text in UTF-8", id="zeros"),
        pytest.param(b"\x1f\x8b\x08\0\0\0", "expected CSV text in UTF-8", id="gzip"),
        pytest.param(csv(*LINES).encode("utf-16"), "expected CSV text in UTF-8", id="utf-16"),
        pytest.param(csv(*LINES).encode("latin-1"), "expected CSV text in UTF-8", id="latin-1"),
    ],
)
def test_a_bad_file_is_refused(text, sentence, tmp_path, reader):
    assert sentence in refusal(text, tmp_path)


def test_place_of_a_fault_in_a_long_file_with_names_on_two_lines(tmp_path, reader, monkeypatch):
    monkeypatch.setattr(titanic, "_CHUNK_ROWS", 2)
    two_lines = LINES[0].replace("Ashdown, ", "Ashdown,\n")
    text = csv(two_lines, *LINES, LINES[3].replace("male", "Male"))
    assert refusal(text, tmp_path).startswith("list.csv, row 7 (line 9), column Sex")
    text = csv(two_lines, *LINES, "1,2,3")
    assert refusal(text, tmp_path).startswith("list.csv, row 7 (line 9): expected 12 fields")


def test_plain_reader_joins_its_chunks(good, monkeypatch):
    at_once = titanic.read(good)
    monkeypatch.setattr(titanic, "_arrow_csv", lambda opened, columns: iter([None]))
    for rows in (1, 2, 5, 6):
        monkeypatch.setattr(titanic, "_CHUNK_ROWS", rows)
        pd.testing.assert_frame_equal(titanic.read(good), at_once)


def test_chunks_are_the_whole_and_a_later_one_may_need_the_plain_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 500)
    path = tmp_path / "list.csv"
    path.write_text(csv(*LINES * 20))
    at_once = titanic.read(path)
    assert len(list(titanic.chunks(path))) > 5
    plainly = LINES[0].replace(",3,", ",3.0,", 1)  # a whole number to us, to Arrow's reader not one
    path.write_text(csv(*LINES * 20, plainly))
    pd.testing.assert_frame_equal(titanic.read(path)[:-1], at_once)
    assert titanic.read(path)["Pclass"].iloc[-1] == 3
    assert len(list(titanic.chunks(path))) > 5  # not all by the plain reader, which gives one


def test_place_of_a_fault_in_a_later_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(titanic, "_BLOCK_BYTES", 500)
    monkeypatch.setattr(titanic, "_PARQUET_ROWS", 10)
    text = csv(*LINES * 20, LINES[3].replace("male", "Male"))
    row = 20 * len(LINES) + 1
    assert f"row {row} (line {row + 1}), column Sex" in refusal(text, tmp_path)
    frame = titanic.read(io.StringIO(csv(*LINES * 20)))
    frame["Age"] = frame["Age"].astype(object)
    frame.loc[47, "Age"] = -1.0
    frame.assign(Age=frame["Age"].astype(float)).to_parquet(tmp_path / "list.parquet")
    with pytest.raises(DataError, match="row 48, column Age"):
        titanic.read(tmp_path / "list.parquet")


def test_the_first_of_several_faults_is_named(tmp_path, reader):
    text = csv(LINES[0], LINES[3].replace("male", "man"), LINES[0].replace(",3,", ",9,", 1))
    assert "row 2 (line 3), column Sex" in refusal(text, tmp_path)


def test_in_a_channel_the_faulty_file_is_named_with_its_own_row(tmp_path, reader):
    (tmp_path / "1.csv").write_text(csv(*LINES[:4]))
    (tmp_path / "2.csv").write_text(csv(LINES[0], LINES[1].replace("female", "lady")))
    with pytest.raises(DataError) as caught:
        titanic.read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / '2.csv'}, row 2 (line 3), column Sex: expected female or male, found 'lady'"
    )


def test_columns_that_are_not_asked_for_are_not_needed(tmp_path, reader):
    few = "Survived,Sex,Pclass,Age,SibSp,Parch,Fare,Embarked"
    path = tmp_path / "few.csv"
    path.write_text(csv("1,male,3,,0,0,7,S", header=few))
    assert len(titanic.read(path, titanic.TRAINING_COLUMNS)) == 1
    with pytest.raises(DataError, match="no column PassengerId, Name, Ticket, Cabin; expected"):
        titanic.read(path)


def test_folders_and_paths_that_hold_nothing(tmp_path, reader):
    with pytest.raises(DataError, match=r"no such file or folder$"):
        titanic.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected at least one .csv or .parquet file, found noth"):
        titanic.read(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"at least one .csv or .parquet file, found notes.txt"):
        titanic.read(tmp_path)
    (tmp_path / "a.csv").write_text(csv())
    with pytest.raises(DataError, match="a header but no row"):
        titanic.read(tmp_path)
    with pytest.raises(DataError, match=r"s3://b/train.csv: not a path of this machine"):
        titanic.read("s3://b/train.csv")


def test_a_file_without_permission(good, monkeypatch):
    def refuse(path: Path, mode: str):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # root, as in many a container, may read all
    with pytest.raises(DataError, match=r"list.csv: cannot be read: Permission denied"):
        titanic.read(good)


def test_bad_parquet(good, tmp_path):
    def message(frame: pd.DataFrame) -> str:
        path = tmp_path / "list.parquet"
        frame.to_parquet(path)
        with pytest.raises(DataError) as caught:
            titanic.read(path)
        return str(caught.value).replace(str(path), "list.parquet")

    frame = titanic.read(good)
    text = frame.assign(Age=frame["Age"].astype(str))
    assert message(text).startswith("list.parquet, row 1, column Age: expected a number of years")
    assert "row 1, column Sex" in message(frame.assign(Sex=[0, 1, 1, 0, 0]))
    assert "row 1, column Pclass" in message(frame.assign(Pclass=pd.Timestamp(0)))
    assert "row 3, column Survived" in message(frame.assign(Survived=[0, 1, None, 1, 0]))
    assert "no column Fare" in message(frame.drop(columns="Fare"))
    assert "no row" in message(frame.iloc[:0])
    for content in (b"PAR1 and then nothing", b"no Parquet at all"):
        (tmp_path / "list.parquet").write_bytes(content)
        with pytest.raises(DataError, match="not a readable Parquet file"):
            titanic.read(tmp_path / "list.parquet")


def test_parquet_without_pyarrow_says_what_to_install(good, tmp_path, monkeypatch):
    titanic.read(good).to_parquet(tmp_path / "list.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="needs the package pyarrow"):
        titanic.read(tmp_path / "list.parquet")


def test_check_takes_frames_from_anywhere(good):
    titanic.check(pd.read_csv(good), "my frame")
    titanic.check(pd.read_csv(good).convert_dtypes(), "my frame")
    titanic.check(pd.read_csv(good).astype(object), "my frame")
    with pytest.raises(DataError, match="my frame, row 5, column Pclass: expected 1, 2 or 3, foun"):
        titanic.check(
            pd.read_csv(good).assign(Pclass=np.array([1, 2, 3, 1, 9], dtype=object)), "my frame"
        )


# --- what models see ------------------------------------------------------------------------------


def test_features_by_hand(good):
    x = titanic.features(titanic.read(good))
    assert tuple(x.columns) == titanic.FEATURES
    assert set(x.dtypes) == {np.dtype("float32")}
    nan = np.nan
    expected = [
        [3, 0, 22, 1, 0, 7.25, 0, 0, 1],
        [1, 1, 38.5, 1, 0, 71.2833, 1, 0, 0],
        [3, 1, nan, 0, 0, 7.925, 0, 1, 0],
        [2, 0, 0.42, 0, 2, 0, 0, 0, 0],
        [1, 0, 61, 0, 0, nan, 0, 0, 1],
    ]
    np.testing.assert_array_equal(x.to_numpy(), np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("form", ["categories", "text", "pandas' own types"])
def test_one_row_alone_gives_what_it_gives_among_all(form):
    frame = titanic.read(DATA / "titanic_train.csv")
    if form == "text":
        frame = pd.read_csv(DATA / "titanic_train.csv")
    elif form == "pandas' own types":
        frame = pd.read_csv(DATA / "titanic_train.csv").convert_dtypes()
    together = titanic.features(frame)
    assert together.to_numpy().tobytes() == (
        titanic.features(titanic.read(DATA / "titanic_train.csv")).to_numpy().tobytes()
    )
    for row in range(0, len(frame), 7):
        alone = titanic.features(frame.iloc[[row]])
        pd.testing.assert_frame_equal(alone, together.iloc[[row]])
    shuffled = frame.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(titanic.features(shuffled).sort_index(), together)


def test_who_a_passenger_is_does_not_reach_the_features():
    frame = titanic.read(DATA / "titanic_train.csv")
    other = frame.copy()
    for column in ("PassengerId", "Survived", "Name", "Ticket", "Cabin"):
        other[column] = other[column].to_numpy()[::-1]
    assert (other["PassengerId"] != frame["PassengerId"]).any()
    pd.testing.assert_frame_equal(titanic.features(other), titanic.features(frame))
    without = frame[list(titanic.SOURCES)]
    pd.testing.assert_frame_equal(titanic.features(without), titanic.features(frame))


def test_features_tell_apart_what_is_apart():
    """No source column is dropped on the way: change one, and a feature changes."""
    row = titanic.read(DATA / "titanic_train.csv").iloc[[0]].assign(Age=30.0, Fare=5.0)
    row = row.assign(Sex=["male"], Embarked=["S"], Pclass=1, SibSp=0, Parch=0)
    other = {"Pclass": 3, "Sex": "female", "Age": 31.0, "SibSp": 1, "Parch": 1, "Fare": 6.0}
    for column, value in {**other, "Embarked": "Q"}.items():
        changed = titanic.features(row.assign(**{column: [value]}))
        assert (changed.to_numpy() != titanic.features(row).to_numpy()).any(), column


def test_hold_out_is_seeded_and_stratified():
    y = titanic.labels(titanic.read(DATA / "titanic_train.csv"))
    mask = titanic.hold_out(y, 0.2, seed=4)
    assert (mask == titanic.hold_out(y, 0.2, seed=4)).all()
    assert (mask != titanic.hold_out(y, 0.2, seed=5)).any()
    assert abs(mask.mean() - 0.2) < 0.01
    assert abs(y[mask].mean() - y.mean()) < 0.01
    with pytest.raises(DataError, match=r"holding out 0.2 of 2 rows leaves no row on one side"):
        titanic.hold_out(np.array([0, 1]), 0.2, seed=1)
