"""What a job brings by `dependencies=`."""
