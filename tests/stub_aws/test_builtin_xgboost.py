"""Tests of the built-in XGBoost of the stub AWS: its parts by themselves, then real jobs.

The oracle is XGBoost itself on the same rows, and scikit-learn for the metrics that the image adds.
"""

from __future__ import annotations

import io
import ipaddress
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse
import sklearn.metrics
import xgboost as xgb
from botocore.exceptions import ClientError
from sagemaker_training import encoders

from stub_aws import first_party, images, run
from stub_aws.instance import CONTAINERS
from stub_aws.validation import validation_message
from tests.support.stub_jobs import (
    BUCKET,
    REPOSITORY,
    Account,
    channel,
    eventually,
    needs_namespaces,
    unique,
)
from tests.support.stub_jobs import (
    XGBOOST_IMAGE as IMAGE,
)

sys.path.append(str(CONTAINERS))

from builtin_xgboost import (
    callbacks,
    channels,
    crossvalidation,
    data,
    hyperparameters,
    metrics,
    train,
)
from builtin_xgboost.errors import AlgorithmError, UserError

TITANIC = REPOSITORY / "data" / "titanic_train.csv"
# One thread: for a few hundred rows, more of them take longer.
BINARY = {"num_round": "5", "objective": "binary:logistic", "nthread": "1"}


# ---- Rows --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    """Label and four features of 300 rows; tenths, so that hosts agree on where to split them."""
    random = np.random.default_rng(7)
    features = random.normal(size=(300, 4)).round(1)
    noise = random.normal(size=300)
    return np.column_stack([features[:, 0] - features[:, 1] + noise > 0, features]).astype(float)


def as_csv(rows, delimiter=","):
    return "".join(delimiter.join(f"{value:g}" for value in row) + "\n" for row in rows)


def as_libsvm(rows):
    return "".join(
        f"{row[0]:g} " + " ".join(f"{i}:{value:g}" for i, value in enumerate(row[1:])) + "\n"
        for row in rows
    )


def bare(rows, rounds=5, **parameters):
    """Return what XGBoost alone makes of the same rows: its predictions."""
    matrix = xgb.DMatrix(rows[:, 1:], label=rows[:, 0])
    settings = {"objective": "binary:logistic", "nthread": 1, **parameters}
    return xgb.train(settings, matrix, rounds).predict(matrix)


def predict(path, rows):
    return xgb.Booster(model_file=path).predict(xgb.DMatrix(rows[:, 1:]))


# ---- A host without a job ----------------------------------------------------------------------


class Host:
    """The folders of one host, and what its environment tells the algorithm."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.channels: dict[str, dict[str, str]] = {}
        self.model, self.output = root / "model", root / "output"
        self.model.mkdir()
        (root / "config").mkdir()

    def add(self, name, files, content_type: str | None = "text/csv", **described):
        folder = self.root / name
        folder.mkdir()
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.channels[name] = {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            **({"ContentType": content_type} if content_type else {}),
            **described,
        }
        return self

    def run(self, parameters, **files):
        """Run the algorithm with these hyperparameters; `files` are more of the configuration."""
        files = {"hyperparameters": parameters, "inputdataconfig": self.channels, **files}
        for name, content in files.items():
            (self.root / "config" / f"{name}.json").write_text(json.dumps(content))
        train.run(
            SimpleNamespace(
                input_config_dir=str(self.root / "config"),
                channel_input_dirs={name: str(self.root / name) for name in self.channels},
                hosts=["algo-1"],
                current_host="algo-1",
                num_gpus=0,
                model_dir=str(self.model),
                output_data_dir=str(self.output),
            )
        )
        return self.model / "xgboost-model"


@pytest.fixture
def host(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    before = signal.getsignal(signal.SIGTERM)
    yield Host(tmp_path)
    signal.signal(signal.SIGTERM, before)


# ---- Hyperparameters ---------------------------------------------------------------------------

VALID = {
    "num_round": ("10", 10),
    "csv_weights": ("1", 1),
    "early_stopping_rounds": ("3", 3),
    "booster": ("dart", "dart"),
    "verbosity": ("3", 3),
    "nthread": ("1", 1),
    "eta": ("0.5", 0.5),
    "gamma": ("0", 0.0),
    "max_depth": ("0", 0),
    "min_child_weight": ("1e-3", 0.001),
    "max_delta_step": ("2", 2.0),
    "subsample": ("1", 1.0),
    "colsample_bytree": ("0.1", 0.1),
    "colsample_bylevel": ("0.1", 0.1),
    "colsample_bynode": ("0.1", 0.1),
    "lambda": ("1", 1.0),
    "alpha": ("1", 1.0),
    "tree_method": ("hist", "hist"),
    "sketch_eps": ("0.5", 0.5),
    "scale_pos_weight": ("2", 2.0),
    "updater": ("refresh,prune", ["refresh", "prune"]),
    "dsplit": ("row", "row"),
    "refresh_leaf": ("0", 0),
    "process_type": ("update", "update"),
    "grow_policy": ("lossguide", "lossguide"),
    "max_leaves": ("4", 4),
    "max_bin": ("16", 16),
    "predictor": ("cpu_predictor", "cpu_predictor"),
    "monotone_constraints": ("(1, 0, -1)", (1, 0, -1)),
    "interaction_constraints": ("[[1, 2], [3]]", [[1, 2], [3]]),
    "sample_type": ("weighted", "weighted"),
    "normalize_type": ("forest", "forest"),
    "rate_drop": ("0.5", 0.5),
    "one_drop": ("1", 1),
    "skip_drop": ("0.5", 0.5),
    "lambda_bias": ("0.5", 0.5),
    "tweedie_variance_power": ("1.5", 1.5),
    "objective": ("rank:ndcg", "rank:ndcg"),
    "num_class": ("2", 2),
    "base_score": ("0.5", 0.5),
    "_kfold": ("5", 5),
    "_num_cv_round": ("2", 2),
    "_tuning_objective_metric": ("validation:ndcg", "validation:ndcg"),
    "eval_metric": ("auc,error@0.7", ["auc", "error@0.7"]),
    "seed": ("-1", -1),
    "num_parallel_tree": ("2", 2),
    "save_model_on_termination": ("true", "true"),
    "aft_loss_distribution": ("normal", "normal"),
    "aft_loss_distribution_scale": ("1", 1.0),
    "single_precision_histogram": ("true", "true"),
    "deterministic_histogram": ("false", "false"),
    "sampling_method": ("uniform", "uniform"),
    "prob_buffer_row": ("2", 2),
    "use_dask_gpu_training": ("false", "false"),
}


def test_every_hyperparameter_is_read_in_its_own_kind():
    assert set(VALID) == set(hyperparameters.KINDS)
    texts = {name: text for name, (text, _) in VALID.items()}
    values = hyperparameters.validate(texts)
    assert values == {name: value for name, (_, value) in VALID.items()}
    assert all(type(values[name]) is type(value) for name, (_, value) in VALID.items())


def test_aliases_become_xgboosts_own_names():
    aliases = {"num_round": "1", "learning_rate": "0.1", "reg_lambda": "2", "min_split_loss": "3"}
    assert hyperparameters.validate(aliases | {"reg_alpha": "4"}) == {
        "num_round": 1,
        "eta": 0.1,
        "lambda": 2.0,
        "gamma": 3.0,
        "alpha": 4.0,
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_round": None}, "Missing required hyperparameter: num_round"),
        ({"num_round": "0"}, "Hyperparameter num_round: 0 is not in [1, +inf)"),
        (
            {"num_round": "ten"},
            "Hyperparameter num_round: could not parse value (caused by ValueError)",
        ),
        (
            {"num_round": "5.0"},
            "Hyperparameter num_round: could not parse value (caused by ValueError)",
        ),
        ({"num_rounds": "5"}, "Extraneous hyperparameter found: num_rounds"),
        ({"silent": "0"}, "Extraneous hyperparameter found: silent"),
        ({"eta": "1.5"}, "Hyperparameter eta: 1.5 is not in [0, 1]"),
        ({"subsample": "0"}, "Hyperparameter subsample: 0.0 is not in (0, 1]"),
        ({"sketch_eps": "1"}, "Hyperparameter sketch_eps: 1.0 is not in (0, 1)"),
        ({"max_depth": "-1"}, "Hyperparameter max_depth: -1 is not in [0, +inf)"),
        ({"csv_weights": "2"}, "Hyperparameter csv_weights: 2 is not in [0, 1]"),
        ({"_kfold": "1"}, "Hyperparameter _kfold: 1 is not in [2, +inf)"),
        (
            {"booster": "forest"},
            "Hyperparameter booster: forest is not in ['gbtree', 'gblinear', 'dart']",
        ),
        (
            {"tree_method": "fast"},
            "Hyperparameter tree_method: fast is not in "
            "['auto', 'exact', 'approx', 'hist', 'gpu_hist']",
        ),
        (
            {"objective": "multi:softmax"},
            "Require input for parameter 'num_class' for multi-classification",
        ),
        (
            {"eval_metric": "auc", "objective": "reg:squarederror"},
            "Metric 'auc' can only be applied for classification and ranking problems.",
        ),
        (
            {"eval_metric": "aft-nloglik", "objective": "survival:cox"},
            "Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.",
        ),
        (
            {"eval_metric": "auc@0.5"},
            "Metric 'auc@0.5' is not supported. Parameter 'eval_metric' with customized threshold "
            "should be one of these options: 'error', 'ndcg', 'map'.",
        ),
        ({"eval_metric": "error@x"}, "Threshold value 't' in 'error@t' expects float input."),
        (
            {"eval_metric": "<function f>"},
            "User defined evaluation metric <function f> is not supported yet.",
        ),
        (
            {"monotone_constraints": "(1, 0)"},
            "monotone_constraints can be used only when the tree_method parameter is set to "
            "either 'exact' or 'hist'.",
        ),
        (
            {"monotone_constraints": "(1, 2)", "tree_method": "hist"},
            "Hyperparameter monotone_constraints: value (1, 2) not in range [-1, 0, 1]",
        ),
        (
            {"monotone_constraints": "__import__('os')", "tree_method": "hist"},
            "Hyperparameter monotone_constraints: could not parse value (caused by ValueError)",
        ),
        (
            {"interaction_constraints": "[[0, 1]]", "tree_method": "hist"},
            "Hyperparameter interaction_constraints: value [[0, 1]] not in range [1, +inf)",
        ),
        (
            {"interaction_constraints": "[[1]]"},
            "interaction_constraints can be used only when the tree_method parameter is set to "
            "either 'exact', 'hist' or 'approx'.",
        ),
        (
            {"updater": "grow_colmaker,distcol"},
            "Only one tree grow plugin can be selected. Choose one from thefollowing: "
            "'grow_colmaker', 'distcol', 'grow_histmaker', 'grow_local_histmaker', 'grow_skmaker'",
        ),
        (
            {"updater": "grow_colmaker", "process_type": "update"},
            "process_type 'update' can only be used with updater 'refresh' and 'prune'",
        ),
        (
            {"updater": "prune", "booster": "gblinear"},
            "Linear updater should be one of these options: 'shotgun', 'coord_descent'.",
        ),
    ],
)
def test_wrong_hyperparameters_are_refused_in_the_images_words(parameters, message):
    everything = {"num_round": "5", **parameters}
    parameters = {name: text for name, text in everything.items() if text is not None}
    with pytest.raises(UserError) as refused:
        hyperparameters.validate(parameters)
    assert str(refused.value) == message


def test_unknown_metric_is_refused_with_all_that_there_are():
    with pytest.raises(UserError, match=r"eval_metric: value \['logloss', 'ks'\] not in range"):
        hyperparameters.validate(BINARY | {"eval_metric": "logloss,ks"})


def test_an_eval_metric_without_objective_fails_as_in_the_image():
    with pytest.raises(KeyError, match="objective"):
        hyperparameters.validate({"num_round": "5", "eval_metric": "rmse"})


def test_failures_carry_the_names_that_people_find_in_logs():
    assert f"{UserError.__module__}.{UserError.__qualname__}" == (
        "sagemaker_algorithm_toolkit.exceptions.UserError"
    )


# ---- Channels ----------------------------------------------------------------------------------

FILE = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}


def test_a_channel_without_a_content_type_is_libsvm():
    assert channels.validate({"train": FILE})["train"]["ContentType"] == "text/libsvm"


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("csv", "csv"),
        ("text/csv", "csv"),
        ("libsvm", "libsvm"),
        ("text/x-libsvm", "libsvm"),
        ("application/x-parquet", "parquet"),
        ("application/x-recordio-protobuf", "recordio-protobuf"),
    ],
)
def test_content_types(content_type, kind):
    channels.validate({"train": {**FILE, "ContentType": content_type}})
    assert channels.data_format(content_type) == kind


@pytest.mark.parametrize(
    "content_type", ["text/csv; label_size=1", "text/csv;charset=utf8", "TEXT/CSV", "text/csv "]
)
def test_a_content_type_is_compared_as_it_stands(content_type):
    with pytest.raises(UserError, match="Channel configuration for 'train' channel is not"):
        channels.validate({"train": {**FILE, "ContentType": content_type}})


def test_a_label_of_another_size_is_refused():
    with pytest.raises(UserError, match="Optional parameter label_size must be equal to 1"):
        channels.data_format("text/csv;label_size=2")


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"training": FILE}, "Missing required channel: train"),
        ({"train": FILE, "test": FILE}, "Extraneous channel found: test"),
        (
            {"train": {**FILE, "ContentType": "application/json"}},
            "Channel configuration for 'train' channel is not supported: {'ContentType': "
            "'application/json', 'TrainingInputMode': 'File', 'S3DistributionType': "
            "'FullyReplicated'}",
        ),
        (
            {"train": {**FILE, "TrainingInputMode": "Pipe"}},
            "Channel configuration for 'train' channel is not supported: {'ContentType': "
            "'text/libsvm', 'TrainingInputMode': 'Pipe', 'S3DistributionType': 'FullyReplicated'}",
        ),
    ],
)
def test_wrong_channels_are_refused_in_the_images_words(configuration, message):
    with pytest.raises(UserError) as refused:
        channels.validate(configuration)
    assert str(refused.value) == message


def test_a_script_in_a_channel_of_its_own_is_no_extra_channel():
    code = {**FILE, "ContentType": "text/python"}
    assert set(channels.validate({"train": FILE, "code": code})) == {"train", "code"}


# ---- Data --------------------------------------------------------------------------------------


def same(matrix, rows):
    """Whether a DMatrix holds exactly these rows, in their order."""
    dense = matrix.get_data().toarray()
    return np.array_equal(matrix.get_label(), rows[:, 0].astype(np.float32)) and np.array_equal(
        dense, rows[:, 1:].astype(np.float32)
    )


def load(host, name="train", **options):
    kind = channels.data_format(host.channels[name]["ContentType"])
    return data.load([host.root / name], kind, **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_has_the_label_first_and_any_usual_delimiter(host, rows, delimiter):
    host.add("train", {"a.csv": as_csv(rows, delimiter)})
    assert same(load(host), rows)


def test_libsvm_and_parquet_hold_the_same_rows_as_csv(host, rows, tmp_path):
    frame = pd.DataFrame(rows, columns=list("yabcd"))
    frame.to_parquet(tmp_path / "a.parquet")
    parquet = (tmp_path / "a.parquet").read_bytes()
    host.add("train", {"a.libsvm": as_libsvm(rows)}, "text/libsvm")
    host.add("validation", {"a.parquet": parquet}, "application/x-parquet")
    assert same(load(host), rows)
    assert same(load(host, "validation"), rows)


def test_files_are_read_in_the_order_of_their_names_down_to_the_third_level(host, rows, caplog):
    parts = {"b.csv": rows[100:200], "a.csv": rows[:100], "c/d/e.csv": rows[200:]}
    host.add("train", {name: as_csv(part) for name, part in parts.items()})
    assert same(load(host), rows)
    host.add("validation", {"a.csv": as_csv(rows), "w/x/y/z.csv": as_csv(rows)})
    assert same(load(host, "validation"), rows)
    assert "exceed the limit 3. Files in deeper sub dirs won't be loaded." in caplog.text


def test_csv_weights_are_the_second_column(host, rows):
    weighted = np.insert(rows, 1, np.arange(len(rows)), axis=1)
    host.add("train", {"a.csv": as_csv(weighted)})
    matrix = load(host, csv_weights=True)
    assert same(matrix, rows)
    assert np.array_equal(matrix.get_weight(), np.arange(len(rows)))
    assert load(host).num_col() == 5


def test_an_empty_channel_has_no_rows(host):
    host.add("train", {"a.csv": ""})
    assert load(host) is None


@pytest.mark.parametrize(
    ("files", "content_type", "message"),
    [
        (
            {".hidden": "1,2"},
            "csv",
            "Hidden file found in the data path! Remove that before training.",
        ),
        (
            {"a.csv": "\n1,2\n"},
            "csv",
            "Could not determine delimiter on line \n:\nCould not determine delimiter",
        ),
        (
            {"a.csv": "1,2,3\n"},
            "libsvm",
            "First line '1,2,3\n...' of file 'a.csv' is not 'LIBSVM' format. "
            "Please ensure the file is in 'LIBSVM' format.",
        ),
        (
            {"a.txt": "1 0:1 1\n"},
            "libsvm",
            "First line '1 0:1 1\n...' of file 'a.txt' is not 'LIBSVM' format. "
            "Please ensure the file is in 'LIBSVM' format.",
        ),
        ({"a.parquet": "1,2"}, "parquet", "Failed to load parquet data with exception:\n"),
        (
            {"a.rec": "x" * 20},
            "recordio-protobuf",
            "Failed to load recordio-protobuf data with exception:\nit is not recordio",
        ),
        (
            {"a.rec": encoders.array_to_recordio_protobuf(np.ones((1, 2)))},
            "recordio-protobuf",
            "Got input data without labels.",
        ),
    ],
)
def test_unreadable_files_are_refused(host, files, content_type, message):
    host.add("train", files, content_type)
    with pytest.raises(UserError) as refused:
        load(host)
    assert str(refused.value).startswith(message)


def as_recordio(rows, sparse=False):
    features = scipy.sparse.csr_matrix(rows[:, 1:]) if sparse else rows[:, 1:]
    return encoders.array_to_recordio_protobuf(features, rows[:, 0])


def as_parquet(rows):
    buffer = io.BytesIO()
    pd.DataFrame(rows, columns=list("yabcd")).to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_recordio_protobuf_holds_the_same_rows_as_csv(host, rows, sparse):
    files = {"a.rec": as_recordio(rows[:100], sparse), "b.rec": as_recordio(rows[100:], sparse)}
    host.add("train", files, "application/x-recordio-protobuf")
    assert same(load(host), rows)


def test_a_record_that_is_cut_off_is_refused(host, rows):
    host.add("train", {"a.rec": as_recordio(rows)[:-9]}, "application/x-recordio-protobuf")
    with pytest.raises(UserError, match="the last record is cut off"):
        load(host)


def pipe(host, name, content, epoch=0):
    """Let a channel come by a pipe, as the stub feeds it."""
    path = host.root / f"{name}_{epoch}"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()


@pytest.mark.parametrize(
    ("content_type", "pack"),
    [("application/x-parquet", as_parquet), ("application/x-recordio-protobuf", as_recordio)],
)
def test_pipes_bring_objects_one_after_another(host, rows, content_type, pack):
    host.add("train", {}, content_type, TrainingInputMode="Pipe")
    content = pack(rows[:100]) + pack(rows[100:200]) + pack(rows[200:])
    for epoch in range(2):  # each reading takes the pipe of the next epoch
        pipe(host, "train", content, epoch)
        assert same(load(host, pipe=True), rows)


def test_a_mark_within_parquet_data_divides_no_file(host, rows):
    text = ["PAR1PAR1" * 3, "x"]
    files = []
    for label in (0.0, 1.0):
        buffer = io.BytesIO()
        frame = pd.DataFrame({"y": [label, 1 - label], "text": text})
        frame.to_parquet(buffer, compression=None)
        files.append(buffer.getvalue())
    assert b"PAR1PAR1" in files[0]
    assert data.parquet_files(b"".join(files)) == files


def test_an_empty_pipe_has_no_rows(host):
    host.add("train", {}, "application/x-parquet", TrainingInputMode="Pipe")
    pipe(host, "train", b"")
    assert load(host, pipe=True) is None


def test_csv_does_not_come_by_a_pipe(host, rows):
    host.add("train", {"a.csv": as_csv(rows)})
    with pytest.raises(UserError, match="Pipe mode not supported for csv"):
        load(host, pipe=True)


def test_a_header_and_text_are_read_as_by_the_image_and_told_once(host, capsys):
    header = "id,kind,value\n"
    host.add("train", {"a.csv": header + "7,red,1\n9,4blue,2\n", "b.csv": header + "1,x,0\n"})
    matrix = load(host)
    assert matrix.get_label().tolist() == [0, 7, 9, 0, 1]
    stored = matrix.get_data().tocoo()  # what is missing is not stored, but a 0 is
    values = {
        (row, column): value
        for row, column, value in zip(stored.row, stored.col, stored.data, strict=True)
    }
    assert values == {(1, 1): 1, (2, 0): 4, (2, 1): 2, (4, 1): 0}
    assert capsys.readouterr().out == (
        "stub AWS: the first line of a.csv looks like a header (id, kind, value, …); the image "
        "trains on it as a row of data; text such as 'red' counts as the number it begins with, "
        "else as missing (as a label: as 0); the label is the first column (id). So did this job.\n"
    )


def test_of_a_header_over_numbers_only_the_header_is_told(host, capsys):
    host.add("train", {"a.csv": "id,kind\n7,1\n"})
    load(host)
    assert "text such as" not in capsys.readouterr().out


def test_nothing_is_told_of_a_good_file(host, rows, capsys):
    host.add("train", {"a.csv": as_csv(rows) + "1,,2,,3\n"})
    assert load(host).num_row() == len(rows) + 1
    assert capsys.readouterr().out == ""


def test_the_same_file_in_both_channels_is_told_as_by_the_image(host, rows, caplog):
    for name in ("train", "validation"):
        host.add(name, {"a.csv": as_csv(rows), f"{name}.csv": as_csv(rows)})
    host.run(BINARY)
    assert caplog.text.count("Suspected identical files found.") == 1


# ---- Metrics -----------------------------------------------------------------------------------

ORACLES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "balanced_accuracy": sklearn.metrics.balanced_accuracy_score,
    "f1": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro"),
    "f1_binary": sklearn.metrics.f1_score,
    "f1_macro": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro"),
    "precision": sklearn.metrics.precision_score,
    "precision_macro": lambda y, p: sklearn.metrics.precision_score(y, p, average="macro"),
    "precision_micro": lambda y, p: sklearn.metrics.precision_score(y, p, average="micro"),
    "recall": sklearn.metrics.recall_score,
    "recall_macro": lambda y, p: sklearn.metrics.recall_score(y, p, average="macro"),
    "recall_micro": lambda y, p: sklearn.metrics.recall_score(y, p, average="micro"),
    "mae": sklearn.metrics.mean_absolute_error,
    "mse": sklearn.metrics.mean_squared_error,
    "r2": sklearn.metrics.r2_score,
    "rmse": lambda y, p: math.sqrt(sklearn.metrics.mean_squared_error(y, p)),
}
ONLY_BINARY = ("f1_binary", "precision", "recall")


def test_the_images_own_metrics_are_all_there():
    assert set(ORACLES) == {*metrics.OF_CLASSES, *metrics.OF_VALUES}
    assert set(ORACLES) <= {*metrics.MAXIMIZED, *metrics.MINIMIZED}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [(name, 2) for name in ORACLES] + [(name, 4) for name in ORACLES if name not in ONLY_BINARY],
)
def test_the_images_own_metrics_agree_with_scikit_learn(name, kinds):
    random = np.random.default_rng(3)
    labels = random.integers(kinds, size=200).astype(float)
    shares = random.dirichlet(np.ones(kinds), size=200)
    if name in metrics.OF_VALUES:
        predictions, expected = shares[:, 0], shares[:, 0]
    elif kinds == 2:
        predictions, expected = shares[:, 1], shares[:, 1] > 0.5
    else:
        predictions, expected = shares, shares.argmax(axis=1)
    matrix = xgb.DMatrix(np.zeros((200, 1)), label=labels)
    evaluate = metrics.custom_metric([name], "binary:logistic" if kinds == 2 else "multi:softprob")
    [(metric, value)] = evaluate(predictions, matrix)
    assert metric == name
    assert value == pytest.approx(ORACLES[name](labels, expected), abs=1e-6)


@pytest.mark.parametrize("name", ONLY_BINARY)
def test_binary_metrics_of_many_classes_fail_as_in_the_image(host, name):
    host.add("train", {"a.csv": "0,1\n1,2\n2,3\n0,1\n1,2\n2,3\n"})
    many = {"num_round": "1", "objective": "multi:softmax", "num_class": "3", "eval_metric": name}
    with pytest.raises(UserError, match="Target is multiclass but average='binary'"):
        host.run(many)


def test_metrics_of_a_job_are_xgboosts_and_ours_in_a_fixed_order():
    named = ["logloss", "accuracy", "auc", "f1"]
    assert metrics.split(named, None) == (["logloss", "auc"], ["accuracy", "f1"])
    assert metrics.split(named, "validation:rmse") == (
        ["auc", "logloss"],
        ["accuracy", "f1", "rmse"],
    )
    assert metrics.split(None, None) == ([], [])


@pytest.mark.parametrize(
    ("objective", "labels", "predictions"),
    [
        ("binary:logistic", [0, 1], [0.4, 0.6]),
        ("binary:logitraw", [0, 1], [-0.1, 0.1]),
        ("multi:softmax", [2, 0], [2.0, 0.0]),
        ("multi:softprob", [2, 0], [[0.2, 0.2, 0.6], [0.5, 0.4, 0.1]]),
    ],
)
def test_classes_follow_the_objective(objective, labels, predictions):
    assert metrics.classes(np.array(predictions), objective).tolist() == labels


# ---- Training on one host ----------------------------------------------------------------------


def test_a_model_is_the_one_that_xgboost_makes_of_the_same_rows(host, rows):
    model = host.add("train", {"a.csv": as_csv(rows)}).run(BINARY | {"max_depth": "3"})
    assert predict(model, rows) == pytest.approx(bare(rows, max_depth=3), abs=0)
    assert sorted(path.name for path in host.model.iterdir()) == ["xgboost-model"]


def test_csv_weights_reach_xgboost(host, rows):
    weights = np.where(rows[:, 1] > 0, 5.0, 0.5)
    weighted = np.insert(rows, 1, weights, axis=1)
    model = host.add("train", {"a.csv": as_csv(weighted)}).run(BINARY | {"csv_weights": "1"})
    matrix = xgb.DMatrix(rows[:, 1:], label=rows[:, 0], weight=weights)
    expected = xgb.train({"objective": "binary:logistic"}, matrix, 5).predict(matrix)
    assert np.array_equal(predict(model, rows), expected)
    assert not np.allclose(expected, bare(rows))


def test_the_default_objective_is_xgboosts_own(host, rows):
    host.add("train", {"a.csv": as_csv(rows)})
    model = xgb.Booster(model_file=host.run({"num_round": "2"}))
    settings = json.loads(model.save_config())["learner"]
    assert settings["objective"]["name"] == "reg:squarederror"


def test_metric_lines_are_found_by_sagemakers_own_definitions(host, rows, capsys):
    host.add("train", {"a.csv": as_csv(rows)}).add("validation", {"b.csv": as_csv(rows[:99])})
    named = "error,logloss,auc,aucpr,mae,accuracy,f1,mse"
    host.run(BINARY | {"eval_metric": named})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [line.split("\t")[0] for line in lines] == ["[0]", "[1]", "[2]", "[3]", "[4]"]
    last = lines[-1].replace("\t", "#011")
    values = {
        item["Name"]: float(match[1])
        for item in first_party.metric_definitions()
        if (match := re.search(item["Regex"], last))
    }
    names = named.split(",")
    assert set(values) == {f"{part}:{name}" for part in ("train", "validation") for name in names}
    assert values["train:error"] == pytest.approx(1 - values["train:accuracy"], abs=1e-4)
    labels, predictions = rows[:, 0], bare(rows)
    assert values["train:logloss"] == pytest.approx(
        sklearn.metrics.log_loss(labels, predictions), abs=1e-4
    )
    # like the image's, the algorithm's own mse is of what it predicts: here of probabilities
    assert values["train:mse"] == pytest.approx(((labels - predictions) ** 2).mean(), abs=1e-4)


def test_early_stopping_keeps_the_best_round(host, rows, capsys):
    flipped = rows.copy()
    flipped[:, 0] = 1 - flipped[:, 0]  # each round makes validation worse
    host.add("train", {"a.csv": as_csv(rows)}).add("validation", {"b.csv": as_csv(flipped)})
    named = {"num_round": "50", "early_stopping_rounds": "3", "eval_metric": "auc,logloss"}
    model = host.run(BINARY | named)
    assert xgb.Booster(model_file=model).num_boosted_rounds() == 1
    lines = re.findall(r"^\[\d+\]", capsys.readouterr().out, re.MULTILINE)
    assert lines == ["[0]", "[1]", "[2]", "[3]"]  # that of the round that stopped it, too


@pytest.mark.parametrize(("metric", "validated"), [({}, True), ({"eval_metric": "logloss"}, False)])
def test_early_stopping_without_metric_or_validation_has_no_effect(
    host, rows, capsys, metric, validated
):
    host.add("train", {"a.csv": as_csv(rows)})
    if validated:
        host.add("validation", {"b.csv": as_csv(rows[::-1])})
    model = host.run(BINARY | {"num_round": "8", "early_stopping_rounds": "1"} | metric)
    assert xgb.Booster(model_file=model).num_boosted_rounds() == 8
    assert "stub AWS: early_stopping_rounds has no effect on this job" in capsys.readouterr().out


def test_early_stopping_knows_which_metrics_shall_grow(host, rows):
    host.add("train", {"a.csv": as_csv(rows)}).add("validation", {"b.csv": as_csv(rows[::-1])})
    growing = {"num_round": "6", "early_stopping_rounds": "1", "eval_metric": "auc"}
    model = host.run(BINARY | growing)  # on rows that it has seen, it is better each round
    assert xgb.Booster(model_file=model).num_boosted_rounds() == 6


def test_a_tuning_metric_is_evaluated_and_stops_early(host, rows, capsys):
    flipped = np.column_stack([1 - rows[:, 0], rows[:, 1:]])
    host.add("train", {"a.csv": as_csv(rows)}).add("validation", {"b.csv": as_csv(flipped)})
    tuned = {"_tuning_objective_metric": "validation:accuracy", "early_stopping_rounds": "2"}
    model = host.run(BINARY | {"num_round": "30"} | tuned)
    assert xgb.Booster(model_file=model).num_boosted_rounds() < 30
    assert "validation-accuracy:" in capsys.readouterr().out


def test_checkpoints_are_kept_and_resumed_from(host, rows, capsys):
    host.add("train", {"a.csv": as_csv(rows)})
    configuration = {"checkpointconfig": {"LocalPath": str(host.root / "checkpoints")}}
    host.run(BINARY | {"num_round": "7"}, **configuration)

    def checkpoint_names():
        return sorted(path.name for path in (host.root / "checkpoints").iterdir())

    assert checkpoint_names() == [f"xgboost-checkpoint.{number}" for number in range(2, 7)]
    capsys.readouterr()
    model = host.run(BINARY | {"num_round": "9"}, **configuration)
    assert re.findall(r"^\[\d+\]", capsys.readouterr().out, re.MULTILINE) == ["[7]", "[8]"]
    assert checkpoint_names() == [f"xgboost-checkpoint.{number}" for number in range(2, 9)]
    assert xgb.Booster(model_file=model).num_boosted_rounds() == 9
    assert np.array_equal(predict(model, rows), bare(rows, 9))


def test_checkpoints_are_found_where_a_host_has_no_opt_ml(host, rows, monkeypatch):
    host.add("train", {"a.csv": as_csv(rows)})
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(host.root))
    host.run(BINARY, checkpointconfig={"LocalPath": "/opt/ml/checkpoints"})
    assert len(list((host.root / "checkpoints").iterdir())) == 5


def test_what_a_stopped_job_leaves_is_one_whole_model(host, rows, monkeypatch):
    host.add("train", {"a.csv": as_csv(rows)})
    ended = []
    monkeypatch.setattr(callbacks.os, "_exit", ended.append)

    class Stop(xgb.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            if epoch == 2:
                (host.model / "xgboost-model.sagemaker-ignore").write_text("half")
                signal.raise_signal(signal.SIGTERM)
                assert ended == [0]
                left = {path.name: path for path in host.model.iterdir()}
                assert list(left) == ["xgboost-model"]
                saved = xgb.Booster(model_file=left["xgboost-model"])
                assert saved.num_boosted_rounds() == 3
            return False

    make = callbacks.make
    monkeypatch.setattr(callbacks, "make", lambda *a, **k: [*make(*a, **k), Stop()])
    host.run(BINARY | {"save_model_on_termination": "true"})
    assert ended == [0]


@pytest.mark.parametrize("master", [True, False])
def test_of_several_hosts_only_the_master_writes(rows, tmp_path, master):
    matrix = xgb.DMatrix(rows[:, 1:], label=rows[:, 0])
    folders = callbacks.Folders(tmp_path / "model", tmp_path / "checkpoints", master)
    values = hyperparameters.validate(BINARY | {"save_model_on_termination": "true"})
    before = signal.getsignal(signal.SIGTERM)
    train.train(values, train.Matrices(matrix, None, matrix), folders, tmp_path)
    signal.signal(signal.SIGTERM, before)
    written = {path.parent.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written == ({"model", "checkpoints"} if master else set())


def test_kfold_leaves_a_model_of_each_fold_and_predictions_of_each_row(host, rows, capsys):
    host.add("train", {"a.csv": as_csv(rows[:200])})
    host.add("validation", {"b.csv": as_csv(rows[200:])})
    host.run(BINARY | {"_kfold": "3", "_num_cv_round": "2"})
    models = sorted(host.model.iterdir())
    assert [path.name for path in models] == [f"xgboost-model-{fold}" for fold in range(6)]
    written = np.loadtxt(host.output / "predictions.csv", delimiter=",")
    assert written.shape == (300, 3)  # rows of both channels; label, probability, class
    assert np.array_equal(written[:, 0], rows[:, 0])
    assert ((written[:, 1] > 0) & (written[:, 1] < 1)).all()
    assert 0.6 < (written[:, 2] == written[:, 0]).mean() < 1
    means = re.findall(
        r"^\[5\]\ttrain-logloss:(\S+)\tvalidation-logloss:(\S+)$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert len(means) == 3  # of each round, and of both
    assert all(float(training) < float(validation) for training, validation in means)


def test_folds_hold_each_row_once_and_their_share_of_each_class():
    strata = np.repeat([0.0, 1.0], [90, 30])
    splits = list(crossvalidation.folds(120, 3, 2, strata))
    assert len(splits) == 6
    for repeat in (splits[:3], splits[3:]):
        assert sorted(np.concatenate([validation for _, validation in repeat])) == list(range(120))
        for training, validation in repeat:
            assert not set(training) & set(validation)
            assert np.bincount(strata[validation].astype(int)).tolist() == [30, 10]


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        # The image knows these by older words of XGBoost's, so it takes them for the algorithm's.
        ({"objective": "count:poisson"}, AlgorithmError, "label must be non-negative for Poisson"),
        (
            {"objective": "multi:softmax", "num_class": "2"},
            AlgorithmError,
            r"label must be discrete values in the range of \[0, num_class\)",
        ),
        ({"_kfold": "2"}, AlgorithmError, "XGB train call failed with exception:\n 'NoneType'"),
        ({"updater": "refresh"}, AlgorithmError, "XGB train call failed with exception:\n "),
    ],
)
def test_what_xgboost_refuses_is_the_users_or_the_algorithms_fault(
    host, parameters, error, message
):
    host.add("train", {"a.csv": "-1,1\n0,2\n5,3\n1,3\n"})
    with pytest.raises(error, match=message):
        host.run({"num_round": "2", **parameters})
    assert list(host.model.iterdir()) == []


def test_a_validation_label_that_is_no_class_is_the_users_fault(host):
    host.add("train", {"a.csv": "0,1\n1,2\n1,3\n"})
    host.add("validation", {"b.csv": "5,1\n"})
    with pytest.raises(UserError, match=r"label must be in \[0, num_class\)"):
        host.run({"num_round": "2", "objective": "multi:softmax", "num_class": "2"})


def test_dask_needs_gpus(host, rows):
    host.add("train", {"a.libsvm": as_libsvm(rows)}, "libsvm")
    with pytest.raises(UserError) as refused:
        host.run(BINARY | {"use_dask_gpu_training": "true"})
    assert str(refused.value) == (
        "Some configurations unsuitable for Dask GPU training were found: "
        "Dask training is only available for `gpu_hist` training on GPU instances.. "
        "Dask training is only supported for CSV and Parquet input."
    )


def test_a_channel_of_another_name_fails_as_in_the_image(host, rows, capsys):
    host.add("training", {"a.csv": as_csv(rows)})
    with pytest.raises(KeyError, match="SM_CHANNEL_TRAIN"):
        host.run(BINARY)
    assert "reads the channel `train`; this job has ['training']" in capsys.readouterr().out


@pytest.mark.parametrize("empty", ["training", "validation"])
def test_a_channel_without_rows_is_refused(host, rows, empty):
    full = as_csv(rows)
    host.add("train", {"a.csv": "" if empty == "training" else full})
    host.add("validation", {"b.csv": "" if empty == "validation" else full})
    with pytest.raises(UserError, match=f"No data in {empty} channel path .*/{empty[:5]}"):
        host.run(BINARY)


# ---- What SageMaker defines by itself ----------------------------------------------------------


def test_sagemakers_definitions_fit_its_own_api():
    definitions = first_party.metric_definitions()
    assert len({item["Name"] for item in definitions}) == len(definitions) == 40
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.shape_for("MetricDefinitionList")
    assert validation_message(definitions, shape) is None


@pytest.mark.parametrize(
    ("image", "defined"),
    [
        (IMAGE, True),
        ("a/sagemaker-xgboost:1.5-1", True),
        ("a/sagemaker-scikit-learn:1.4-2", False),
        ("a/sagemaker-xgboost-of-ours:1", False),
    ],
)
def test_sagemaker_defines_the_metrics_of_its_xgboost_image(image, defined):
    request = {"AlgorithmSpecification": {"TrainingImage": image}}
    assert first_party.defines_metrics(request) is defined


@pytest.mark.parametrize(
    ("tag", "differs"), [("3.2-0", False), ("1.5-1", True), ("3.0-5", True), ("latest", False)]
)
def test_another_version_of_the_image_is_told(tag, differs):
    sentence = images.IMAGES["sagemaker-xgboost"].difference(f"host/sagemaker-xgboost:{tag}")
    assert bool(sentence) is differs
    if differs:
        here = f"XGBoost {xgb.__version__} stands in for it here"
        assert f"sagemaker-xgboost:{tag} carries XGBoost {tag[:3]}; {here}" in sentence


# ---- Addresses -------------------------------------------------------------------------------


def test_no_two_jobs_have_an_address_in_common():
    """XGBoost's tracker has a fixed port, which stays taken for a while after a job."""
    hosts = ["algo-1", "algo-2"]
    pairs = [run.loopback_addresses(hosts, network) for network in range(run.NETWORKS)]
    addresses = {address for pair in pairs for address in pair.values()}
    assert len(addresses) == 2 * run.NETWORKS
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
    assert run.loopback_addresses(hosts, run.NETWORKS) == pairs[0]
    firsts = {next(run.Platform(None, "", "").networks) for _ in range(5)}
    assert len(firsts) > 1  # another stub on this machine begins elsewhere


# ---- Real jobs ---------------------------------------------------------------------------------


class Jobs:
    """Real jobs of the built-in algorithm."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def start(self, hyperparameters, files, *, hosts=1, distribution="ShardedByS3Key", **changes):
        """Ask for a job on these files (channel -> name -> content)."""
        prefix = unique("builtin")
        described = []
        for name, contents in files.items():
            for file, content in contents.items():
                self.account.put(f"{prefix}/{name}/{file}", content)
            entry = channel(name, f"s3://{BUCKET}/{prefix}/{name}/", distribution)
            described.append(entry | {"ContentType": "text/csv"})
        return self.account.start(
            files={},
            image=IMAGE,
            hosts=hosts,
            HyperParameters=hyperparameters,
            InputDataConfig=described,
            **changes,
        )

    def model(self, name, tmp_path):
        (tmp_path / "model").write_bytes(self.account.unpack(name)["xgboost-model"])
        return tmp_path / "model"


@pytest.fixture(scope="module")
def jobs(stub_aws):
    return Jobs(Account(stub_aws.environment))


def final_metrics(description):
    return {item["MetricName"]: item["Value"] for item in description["FinalMetricDataList"]}


def algorithm(tag="3.2-0", **more):
    uri = IMAGE.replace("3.2-0", tag)
    return {"TrainingImage": uri, "TrainingInputMode": "File", **more}


def test_the_raw_titanic_file_trains_on_its_header_as_it_does_on_sagemaker(jobs):
    """What the common lesson submits: Completed, and of no use."""
    name = jobs.start(
        {"num_round": "3"},
        {"train": {"titanic_train.csv": TITANIC.read_text()}},
        AlgorithmSpecification=algorithm("1.5-1"),
    )
    described = jobs.account.wait(name)
    assert described["TrainingJobStatus"] == "Completed"
    log = jobs.account.log(name)
    shown = "\n".join(log)
    passengers = len(pd.read_csv(TITANIC))
    assert f"Train matrix has {passengers + 1} rows and 11 columns" in shown
    assert "looks like a header (PassengerId, Survived, Pclass, …)" in shown
    assert "the label is the first column (PassengerId)" in shown
    assert f"carries XGBoost 1.5; XGBoost {xgb.__version__} stands in for it" in log[0]
    rounds = [line for line in log if re.match(r"\[[0-2]\]#011train-rmse:", line)]
    assert len(rounds) == 3
    # A number of passengers is what it learnt to predict, not who survived.
    assert final_metrics(described)["train:rmse"] > 100
    assert f"[2]#011train-rmse:{final_metrics(described)['train:rmse']:.5f}" == rounds[-1]


def test_a_wrong_hyperparameter_fails_the_job_with_its_message(jobs):
    name = jobs.start({"num_round": "0"}, {"train": {"a.csv": "1,2\n"}})
    described = jobs.account.wait(name)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("AlgorithmError: Framework Error: \nTraceback")
    assert described["FailureReason"].endswith(
        "sagemaker_algorithm_toolkit.exceptions.UserError: Hyperparameter num_round: 0 is not in "
        "[1, +inf)\n\nHyperparameter num_round: 0 is not in [1, +inf)"
    )


def test_a_job_with_definitions_of_its_own_is_refused(jobs):
    own = algorithm(MetricDefinitions=[{"Name": "a", "Regex": "b"}])
    with pytest.raises(ClientError) as refused:
        jobs.start(BINARY, {"train": {"a.csv": "1,2\n"}}, AlgorithmSpecification=own)
    assert refused.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "You can't override the metric definitions for Amazon SageMaker algorithms. "
        "Please retry the request without specifying metric definitions.",
    }


@needs_namespaces
def test_two_hosts_with_half_the_rows_each_train_one_model(jobs, rows, tmp_path):
    halves = {"a.csv": as_csv(rows[:150]), "b.csv": as_csv(rows[150:])}
    validation = {"c.csv": as_csv(rows[:40]), "d.csv": as_csv(rows[40:80])}
    name = jobs.start(
        BINARY | {"eval_metric": "logloss,accuracy"},
        {"train": halves, "validation": validation},
        hosts=2,
    )
    described = jobs.account.wait(name)
    assert described["TrainingJobStatus"] == "Completed"
    assert list(jobs.account.unpack(name)) == ["xgboost-model"]  # one host alone saves
    first, second = (jobs.account.log(name, host) for host in ("algo-1", "algo-2"))
    for log in (first, second):
        assert sum("Train matrix has 150 rows and 4 columns" in line for line in log) == 1
    assert any(line.startswith("[4]#011train-logloss:") for line in first)
    assert not any(line.startswith("[4]") for line in second)
    # The features have few values, so that the hosts' histograms are exact and the trees are those
    # of one host; only the order of the sums differs.
    predictions = predict(jobs.model(name, tmp_path), rows)
    assert predictions == pytest.approx(bare(rows), abs=1e-5)
    loss = sklearn.metrics.log_loss(rows[:, 0], predictions)
    assert final_metrics(described)["train:logloss"] == pytest.approx(loss, abs=1e-4)
    half = np.split(rows, 2)[0]
    assert not np.allclose(predictions, predict_of(half, rows), atol=1e-3)


def predict_of(subset, rows):
    """Return what a model of some of the rows alone would say."""
    matrix = xgb.DMatrix(subset[:, 1:], label=subset[:, 0])
    model = xgb.train({"objective": "binary:logistic"}, matrix, 5)
    return model.predict(xgb.DMatrix(rows[:, 1:]))


@needs_namespaces
def test_of_two_hosts_and_one_file_one_trains_and_the_other_says_why_not(jobs, rows, tmp_path):
    name = jobs.start(BINARY, {"train": {"a.csv": as_csv(rows)}}, hosts=2)
    assert jobs.account.wait(name)["TrainingJobStatus"] == "Completed"
    idle = "\n".join(jobs.account.log(name, "algo-2"))
    assert "Host algo-2 does not have training data. Will broadcast to cluster" in idle
    assert "Host algo-2 not being used for distributed training." in idle
    assert np.array_equal(predict(jobs.model(name, tmp_path), rows), bare(rows))


@needs_namespaces
def test_a_replicated_channel_is_trained_on_by_every_host_as_a_whole(jobs, rows, tmp_path):
    """As in the image: nothing shares the rows out, so two hosts train on each row twice."""
    name = jobs.start(
        BINARY, {"train": {"a.csv": as_csv(rows)}}, hosts=2, distribution="FullyReplicated"
    )
    assert jobs.account.wait(name)["TrainingJobStatus"] == "Completed"
    for host in ("algo-1", "algo-2"):
        assert "Train matrix has 300 rows and 4 columns" in "\n".join(jobs.account.log(name, host))
    predictions = predict(jobs.model(name, tmp_path), rows)
    twice = bare(np.vstack([rows, rows]))[: len(rows)]
    assert predictions == pytest.approx(twice, abs=1e-5)
    assert not np.allclose(predictions, bare(rows), atol=1e-3)


@needs_namespaces
def test_hosts_with_data_train_together_without_the_first_host(jobs, rows, tmp_path):
    """The second group has its tracker on the first host that has data; and all stop early."""
    files = {"a.csv": "", "b.csv": as_csv(rows[:100]), "c.csv": as_csv(rows[100:])}
    parameters = {"num_round": "200", "early_stopping_rounds": "3", "eval_metric": "logloss"}
    validation = dict.fromkeys(files, as_csv(rows[::4]))  # a third of what is replicated
    name = jobs.start(BINARY | parameters, {"train": files, "validation": validation}, hosts=3)
    assert jobs.account.wait(name)["TrainingJobStatus"] == "Completed"
    logs = ["\n".join(jobs.account.log(name, f"algo-{number}")) for number in (1, 2, 3)]
    assert "Host algo-1 not being used for distributed training." in logs[0]
    assert "Train matrix has 100 rows and 4 columns" in logs[1]
    assert "Train matrix has 200 rows and 4 columns" in logs[2]
    rounds = [len(re.findall(r"^\[\d+\]#011train-logloss", log, re.MULTILINE)) for log in logs]
    assert rounds[0] == rounds[2] == 0
    assert 3 < rounds[1] < 200
    model = jobs.model(name, tmp_path)
    best = xgb.Booster(model_file=model).num_boosted_rounds()
    assert best == rounds[1] - 3  # the best one's, as the master saves it
    assert predict(model, rows) == pytest.approx(bare(rows, best), abs=1e-4)


@needs_namespaces
def test_where_no_host_has_data_all_end_well_and_there_is_no_model(jobs):
    name = jobs.start(BINARY, {"train": {"a.csv": "", "b.csv": ""}}, hosts=2)
    described = jobs.account.wait(name)
    assert described["TrainingJobStatus"] == "Completed"
    assert "ModelArtifacts" not in described
    for host in ("algo-1", "algo-2"):
        log = "\n".join(jobs.account.log(name, host))
        assert f"Host {host} not being used for distributed training." in log
        assert "no host has data: as in the image, all end well and there is no model." in log


@needs_namespaces
def test_a_host_that_dies_ends_the_job(jobs, rows):
    files = {"a.csv": as_csv(rows[:150]), "b.csv": as_csv(rows[150:])}
    parameters = BINARY | {"num_round": "1000000"}
    names = {
        host: jobs.start(parameters, {"train": files}, hosts=2) for host in ("algo-1", "algo-2")
    }
    for host, name in names.items():
        eventually("a round", lambda of=name: any("[100]" in row for row in jobs.account.log(of)))
        container(name, host).kill()
        start = time.monotonic()
        described = jobs.account.wait(name)
        assert time.monotonic() - start < 15
        assert described["TrainingJobStatus"] == "Failed"
        assert described["FailureReason"] == "AlgorithmError: Exit Code: 137"


def container(name, host):
    """Return the process of a host's container."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("TRAINING_JOB_NAME") != name:
                continue
            resources = Path(f"/proc/{process.pid}/root/opt/ml/input/config/resourceconfig.json")
            if "/opt/containers/toolkit.py" in process.cmdline() and (
                json.loads(resources.read_text())["current_host"] == host
            ):
                return process
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or is no host's
    return None


# What a person writes with SDK 2, in a process that knows the stub only by its environment.
ESTIMATOR = """
import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput

session = sagemaker.Session()
estimator = Estimator(
    "{image}",
    role=sagemaker.get_execution_role(),
    instance_count=1,
    instance_type="ml.m5.large",
    output_path="s3://{bucket}/output",
    hyperparameters={{"num_round": 5, "objective": "binary:logistic", "eval_metric": "error"}},
    sagemaker_session=session,
)
estimator.fit({{"train": TrainingInput("{uri}", content_type="csv")}})
frame = estimator.training_job_analytics.dataframe()
print("job=" + estimator.latest_training_job.name)
print("metrics=" + ",".join(sorted(set(frame["metric_name"]))))
"""


def test_sdk_2_trains_it_and_reads_its_metrics(jobs, stub_aws, rows, tmp_path):
    uri = jobs.account.put(f"{unique('sdk')}/train.csv", as_csv(rows))
    done = subprocess.run(
        [sys.executable, "-c", ESTIMATOR.format(bucket=BUCKET, image=IMAGE, uri=uri)],
        env=stub_aws.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    results = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert results["metrics"] == "train:error"
    assert np.array_equal(predict(jobs.model(results["job"], tmp_path), rows), bare(rows))
