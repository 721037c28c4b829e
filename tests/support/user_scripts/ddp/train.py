"""Adds the ranks of all processes up, over the process group that torchrun has prepared."""

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
facts = {
    "sum": total.item(),
    "world": dist.get_world_size(),
    "master": os.environ["MASTER_ADDR"],
    "hosts": json.loads(Path("/opt/ml/input/config/resourceconfig.json").read_text())["hosts"],
}
Path(os.environ["SM_MODEL_DIR"], f"rank-{dist.get_rank()}.json").write_text(json.dumps(facts))
dist.destroy_process_group()
os._exit(0)  # at once: threads of gloo may still run, and can make a normal end abort
