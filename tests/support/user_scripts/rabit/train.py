"""Trains one XGBoost model on two hosts' rows, with a tracker on the first, as AWS's image does."""

import json
import os
from pathlib import Path

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

resources = json.loads(Path("/opt/ml/input/config/resourceconfig.json").read_text())
hosts, here = resources["hosts"], resources["current_host"]
tracker = None
if here == hosts[0]:
    tracker = RabitTracker(n_workers=len(hosts), host_ip=hosts[0], port=9099)
    tracker.start()
where = {"dmlc_tracker_uri": hosts[0], "dmlc_tracker_port": 9099, "dmlc_task_id": here}
(shard,) = Path(os.environ["SM_CHANNEL_TRAIN"]).glob("*.csv")
rows = np.loadtxt(shard, delimiter=",")
with collective.CommunicatorContext(**where):
    matrix = xgb.DMatrix(rows[:, 1:], label=rows[:, 0])
    model = xgb.train({"tree_method": "hist", "seed": 1}, matrix, 5)
    counted = collective.allreduce(np.array([len(rows)]), collective.Op.SUM)
    first = collective.get_rank() == 0
if first:
    model.save_model(Path(os.environ["SM_MODEL_DIR"], "model.json"))
Path(os.environ["SM_MODEL_DIR"], f"{here}.json").write_text(
    json.dumps({"mine": len(rows), "all": int(counted[0])})
)
if tracker:
    tracker.wait_for()
