"""What scikit-learn gets of the passengers, and what its Pipeline does before the model.

table = preprocessing.inputs(x)                 # features of titanic.py, as columns with names
Pipeline([("columns", preprocessing.columns()), ("model", ...)]).fit(table, y)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import titanic

if TYPE_CHECKING:  # what needs them imports them
    import numpy as np
    import pandas as pd
    from sklearn.compose import ColumnTransformer

SCALED = ("Age", "Fare", "SibSp", "Parch")  # numbers
ENCODED = ("Pclass", "Sex", "Embarked")  # classes: one column of 0 and 1 for each value


def inputs(x: np.ndarray) -> pd.DataFrame:
    """Return features, float64 (rows, len(titanic.FEATURES)), as columns of numbers and classes.

    Floats and Python strings, NaN for nothing: the same for every version of pandas, and no type of
    pandas gets into the model.
    """
    import numpy as np
    import pandas as pd

    value = dict(zip(titanic.FEATURES, x.T))
    sexes = np.array(["male", "female"], dtype=object)
    ports = np.array([np.nan, *titanic.CATEGORIES["Embarked"]], dtype=object)
    port = sum(value[f"Embarked_{name}"] * code for code, name in enumerate(ports[1:], 1))
    table = pd.DataFrame({name: value[name] for name in (*SCALED, "Pclass")})
    # Chosen by index, all rows share a few strings; else there would be one for every row.
    table["Sex"] = pd.Series(sexes[value["Female"].astype(int)], dtype=object)
    table["Embarked"] = pd.Series(ports[port.astype(int)], dtype=object)
    return table


def columns() -> ColumnTransformer:
    """Return the first step of the Pipeline, not trained yet: fill, scale numbers, encode classes.

    Numbers are filled with the median, classes with the most frequent one.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
    )
    # The schema's categories, not the data's: data without a port make the same columns.
    known = [[1.0, 2.0, 3.0], *(list(titanic.CATEGORIES[name]) for name in ENCODED[1:])]
    classes = Pipeline(
        [
            ("impute", SimpleImputer(strategy="most_frequent", keep_empty_features=True)),
            ("encode", OneHotEncoder(categories=known, handle_unknown="ignore")),
        ]
    )
    return ColumnTransformer(
        [("numbers", numbers, list(SCALED)), ("classes", classes, list(ENCODED))],
        sparse_threshold=0,
    )
