# Runs as root at every start of the notebook instance, for 5 minutes at most. What takes longer runs in
# the background, with its three streams redirected: otherwise SageMaker would wait for it. Only the folder
# SageMaker outlives a stop, so the rest is made again. template.yaml puts before this `#!/bin/bash`,
# IDLE_MINUTES, PIP_EXTRA_INDEX_URL and AUTO_STOP, the text of auto_stop.py. What it prints is in
# CloudWatch, log group /aws/sagemaker/NotebookInstances, stream <instance>/LifecycleConfigOnStart.
# shellcheck shell=bash
set -euo pipefail
: "${IDLE_MINUTES:?}" "${AUTO_STOP:?}"
PERSISTENT=/home/ec2-user/SageMaker
CLONE=$PERSISTENT/sagemaker-workshop
FOLDER=/run/sagemaker-workshop
UNITS=/run/systemd/system
EVERY_S=${AUTO_STOP_EVERY_S:-300}

in_background_as_user() { # root runs nothing that the user could have changed
    setsid nohup sudo -u ec2-user -i "$@" </dev/null >/dev/null 2>&1 &
}

write_auto_stop() {
    mkdir -p "$FOLDER"
    printf '%s' "$AUTO_STOP" >"$FOLDER/auto_stop.py"
    # The first of these Pythons that has boto3; its last output is kept where the user can read it.
    cat >"$FOLDER/auto_stop.sh" <<END
mkdir -p $PERSISTENT/.workshop
for python in $CLONE/.venv/bin/python /home/ec2-user/anaconda3/envs/*/bin/python python3; do
    if "\$python" -c 'import boto3' 2>/dev/null; then
        exec "\$python" $FOLDER/auto_stop.py --idle-minutes $IDLE_MINUTES >$PERSISTENT/.workshop/auto_stop.log 2>&1
    fi
done
echo "No Python here has boto3, so this instance does not stop itself." >$PERSISTENT/.workshop/auto_stop.log
END
    chmod -R a+rX "$FOLDER"
}

write_units() {
    mkdir -p "$UNITS"
    cat >"$UNITS/workshop-auto-stop.service" <<END
[Unit]
Description=Stop this notebook instance when nobody uses it

[Service]
Type=oneshot
User=ec2-user
ExecStart=/bin/bash $FOLDER/auto_stop.sh
END
    cat >"$UNITS/workshop-auto-stop.timer" <<END
[Unit]
Description=Look every $EVERY_S seconds whether anybody uses this notebook instance

[Timer]
OnActiveSec=$EVERY_S
OnUnitInactiveSec=$EVERY_S
END
}

start_auto_stop() {
    write_auto_stop
    write_units
    # Amazon Linux 2023 has systemd and, as it comes, no cron.
    if systemctl daemon-reload && systemctl start workshop-auto-stop.timer; then
        echo "A systemd timer stops this instance after $IDLE_MINUTES idle minutes."
    else
        in_background_as_user bash -c "while sleep $EVERY_S; do bash $FOLDER/auto_stop.sh; done"
        echo "systemd took no timer, so a process of ec2-user stops this instance after $IDLE_MINUTES idle minutes."
    fi
}

start_auto_stop # first: if something fails below, the instance still stops itself
if [ -e "$CLONE/scripts/notebook_instance/environment.sh" ]; then
    in_background_as_user env PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-}" \
        bash "$CLONE/scripts/notebook_instance/environment.sh"
    echo "The workshop's environment is made in the background: $PERSISTENT/workshop-environment.log is its log."
else
    echo "There is no workshop in $CLONE, so it gets no environment: clone it there, and start the instance again." >&2
fi
