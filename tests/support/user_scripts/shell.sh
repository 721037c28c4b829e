#!/bin/bash
# A shell entry point: its hyperparameters are its arguments.
set -euo pipefail
echo "$@" > "$SM_MODEL_DIR/arguments"
wc -l < "$SM_CHANNEL_TRAINING/rows.csv" > "$SM_MODEL_DIR/rows"
