# Runs once, as root, when the notebook instance is created: clones the project into the folder that
# outlives a stop. template.yaml puts `#!/bin/bash` and REPOSITORY_URL before this. What it prints is in
# CloudWatch, log group /aws/sagemaker/NotebookInstances, stream <instance>/LifecycleConfigOnCreate.
# shellcheck shell=bash
set -euo pipefail
: "${REPOSITORY_URL:?}"
CLONE=/home/ec2-user/SageMaker/sagemaker-workshop

as_user() { # as the user of Jupyter, never as root, because that user's home may hold anything
    sudo -u ec2-user -i "$@"
}

if as_user test -e "$CLONE"; then
    echo "$CLONE is there already and stays as it is."
    exit 0
fi
# A clone that is cut off must not look complete. git asks for no password: nobody could type it.
as_user rm -rf "$CLONE.unfinished"
as_user timeout 240 env GIT_TERMINAL_PROMPT=0 git clone --quiet "$REPOSITORY_URL" "$CLONE.unfinished" || {
    echo "The workshop could not be cloned from $REPOSITORY_URL: is it public, and does the instance reach the internet?" >&2
    exit 1
}
as_user mv -T "$CLONE.unfinished" "$CLONE"
echo "The workshop is in $CLONE."
