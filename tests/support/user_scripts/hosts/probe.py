"""train_torch.py in a job whose hosts leave in the model folder what each of them did.

PROBE says what happens to a host when it has done so many steps: {"algo-2": [7, "SIGTERM"]}.
"""

import hashlib
import json
import os
import signal
from pathlib import Path

import train_torch

HOST = os.environ["SM_CURRENT_HOST"]
AFTER, SIGNAL = json.loads(os.environ.get("PROBE", "{}")).get(HOST, (0, ""))
done = {"steps": 0, "order": [], "rows": []}
real_batches, real_step = train_torch.Rows.batches, train_torch.Training.step


def batches(self, order, sizes):
    if not done["order"]:  # of the first epoch
        done["order"] = order.tolist()
        for x, y in zip(self.x[order], self.y[order], strict=True):
            row = x.numpy().tobytes() + y.numpy().tobytes()
            done["rows"].append(hashlib.blake2b(row, digest_size=8).hexdigest())
    return real_batches(self, order, sizes)


def step(self, *batch):
    real_step(self, *batch)
    done["steps"] += 1
    if done["steps"] == AFTER:
        os.kill(os.getpid(), signal.Signals[SIGNAL])


train_torch.Rows.batches, train_torch.Training.step = batches, step
code = train_torch.main()
model = Path(os.environ["SM_MODEL_DIR"])
done["left"] = sorted(file.name for file in model.iterdir())
done["checkpoints"] = sorted(file.name for file in (model.parent / "checkpoints").glob("*"))
(model / f"probe-{HOST}.json").write_text(json.dumps(done))
train_torch.torch_group.leave(code)
