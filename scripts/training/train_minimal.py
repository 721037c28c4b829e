"""Train a small model with XGBoost: the least that an entry point needs.

python scripts/training/train_minimal.py --train data/titanic_train.csv
"""

import argparse
import os
from pathlib import Path

import pandas as pd
import xgboost

FEATURES = ["Pclass", "Female", "Age", "SibSp", "Parch", "Fare"]


def arguments(argv=None):
    """Return the command line's arguments; SageMaker's variables are the defaults."""
    model_dir = os.environ.get("SM_MODEL_DIR", "build/minimal")
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_depth", type=int, default=3)
    parser.add_argument("--num_round", type=int, default=20)
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN", "data"))
    parser.add_argument("--model_dir", default=model_dir)
    return parser.parse_args(argv)


def read(channel):
    """Return the passengers in the CSV files of a folder, or in one file."""
    channel = Path(channel)
    files = [channel] if channel.is_file() else sorted(channel.glob("*.csv"))
    passengers = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    passengers["Female"] = passengers["Sex"] == "female"
    return passengers


def matrix(passengers):
    """Return features and labels in the form that XGBoost reads."""
    return xgboost.DMatrix(passengers[FEATURES], passengers["Survived"])


def main(argv=None):
    """Train, print the accuracy on passengers that were held out, save the model."""
    args = arguments(argv)
    passengers = read(args.train)
    held_out = passengers.index % 5 == 0
    train, validation = matrix(passengers[~held_out]), matrix(passengers[held_out])
    settings = {"objective": "binary:logistic", "max_depth": args.max_depth}
    evals = [(train, "train"), (validation, "validation")]
    model = xgboost.train(settings, train, args.num_round, evals=evals, verbose_eval=5)

    correct = (model.predict(validation) >= 0.5) == validation.get_label()
    print(f"validation:accuracy={correct.mean():.3f};")
    Path(args.model_dir).mkdir(parents=True, exist_ok=True)
    model.save_model(Path(args.model_dir, "xgboost-model.ubj"))


if __name__ == "__main__":
    main()
