"""Train a small model with XGBoost: the least that an entry point needs, in one file to copy.

python scripts/training/train_minimal.py --train data/titanic_train.csv
"""

import argparse
import os
from pathlib import Path

import pandas as pd
import xgboost

FEATURES = ["Pclass", "Female", "Age", "SibSp", "Parch", "Fare"]


def main(argv=None):
    parser = argparse.ArgumentParser()
    # Hyperparameters: the keys of the Estimator's `hyperparameters`.
    parser.add_argument("--max_depth", type=int, default=3)
    parser.add_argument("--num_round", type=int, default=20)
    # SageMaker gives these as environment variables; the defaults are for a run on this machine.
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN", "data"))
    parser.add_argument("--model_dir", default=os.environ.get("SM_MODEL_DIR", "build/minimal"))
    args = parser.parse_args(argv)

    # A channel is a folder with one file or more.
    channel = Path(args.train)
    files = [channel] if channel.is_file() else sorted(channel.glob("*.csv"))
    passengers = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    passengers["Female"] = passengers["Sex"] == "female"

    # Every fifth passenger is not trained on, and says how good the model is.
    held_out = passengers.index % 5 == 0
    sets = {"train": passengers[~held_out], "validation": passengers[held_out]}
    data = {name: xgboost.DMatrix(rows[FEATURES], rows["Survived"]) for name, rows in sets.items()}
    settings = {"objective": "binary:logistic", "max_depth": args.max_depth}
    evals = [(matrix, name) for name, matrix in data.items()]
    model = xgboost.train(settings, data["train"], args.num_round, evals=evals, verbose_eval=5)

    right = (model.predict(data["validation"]) >= 0.5) == sets["validation"]["Survived"]
    print(f"validation:accuracy={right.mean():.3f};")

    # What lies in this folder at the end becomes model.tar.gz in S3.
    Path(args.model_dir).mkdir(parents=True, exist_ok=True)
    model.save_model(Path(args.model_dir, "xgboost-model.ubj"))


if __name__ == "__main__":
    main()
