"""The script that one writes first: read all, fill gaps, one-hot, split, train, score, save.

    python tests/bench/obvious_pandas.py LIST.csv FOLDER ROUNDS DEPTH THREADS

What `scripts/training/train_xgboost.py` is measured against, so it is written as people write it.
"""

import sys

import pandas as pd
import xgboost as xgb
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

source, folder, rounds, depth, threads = sys.argv[1:]
frame = pd.read_csv(source)
frame["Age"] = frame["Age"].fillna(frame["Age"].median())
frame["Fare"] = frame["Fare"].fillna(frame["Fare"].median())
frame["Embarked"] = frame["Embarked"].fillna("S")
x = pd.get_dummies(frame.drop(columns=["PassengerId", "Name", "Ticket", "Cabin"]))
y = x.pop("Survived")
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=1, stratify=y)
train, test = xgb.DMatrix(x_train, label=y_train), xgb.DMatrix(x_test, label=y_test)
parameters = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",
    "max_depth": int(depth),
    "eta": 0.1,
    "seed": 1,
    "nthread": int(threads),
}
model = xgb.train(
    parameters,
    train,
    int(rounds),
    evals=[(train, "train"), (test, "validation")],
    verbose_eval=False,
)
for matrix, labels in ((train, y_train), (test, y_test)):
    probabilities = model.predict(matrix)
    print(accuracy_score(labels, probabilities > 0.5), log_loss(labels, probabilities))
    print(roc_auc_score(labels, probabilities))
model.save_model(f"{folder}/model.ubj")
