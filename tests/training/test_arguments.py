"""The way of a hyperparameter: the SDK's JSON, the toolkit's arguments, the scripts' parser.

In a terminal every script is called with `--name`. SageMaker's toolkit writes the arguments itself,
and a little differently: `{"C": 1}` becomes `-C 1`.
"""

import argparse
import json

import pytest
from sagemaker.estimator import EstimatorBase
from sagemaker_training import mapping

import train_pipeline
import train_sklearn
import train_torch
import train_xgboost

SCRIPTS = [train_xgboost, train_sklearn, train_torch, train_pipeline]
SHARED_ARGUMENTS = {"help", "train", "validation", "model_dir", "output_data_dir", "nthread"}
SHARED_ARGUMENTS |= {"checkpoint_dir"}


def on_the_way(hyperparameters: dict) -> list[str]:
    """Return the words that a script is started with, for the hyperparameters of an estimator."""
    request = EstimatorBase._json_encode_hyperparameters(hyperparameters)
    assert all(isinstance(value, str) for value in request.values())
    return mapping.to_cmd_args({name: json.loads(value) for name, value in request.items()})


def hyperparameters_of(script) -> list:
    """Its parser's actions but for those whose values SageMaker gives."""
    own = [one for one in script.parser()._actions if one.dest not in SHARED_ARGUMENTS]
    assert len(own) >= 10
    return own


def sample(action):
    """Return a value, as a learner writes it in Python, that the argument takes and that is not its
    default."""
    for value in (True, 3, 4, 0.5, "off", "cpu", "forest", "alone", "sharded"):
        try:
            read = action.type(str(value))
        except argparse.ArgumentTypeError:
            continue
        if read != action.default:
            return value, read
    raise AssertionError(f"no sample for --{action.dest}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_hyperparameter_of_an_estimator_reaches_the_script(script):
    for action in hyperparameters_of(script):
        value, read = sample(action)
        args = script.parser().parse_args(on_the_way({action.dest: value}))
        assert getattr(args, action.dest) == read, action.dest


def test_a_name_of_one_letter_arrives_with_one_hyphen():
    assert on_the_way({"C": 0.5}) == ["-C", "0.5"]
    for arguments in (["-C", "0.5"], ["--C", "0.5"], ["--C=0.5"]):
        assert train_sklearn.parser().parse_args(arguments).C == 0.5


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_the_one_of_python(value):
    assert on_the_way({"balanced": value}) == ["--balanced", str(value)]
    assert train_sklearn.parser().parse_args(on_the_way({"balanced": value})).balanced is value
