"""Parameters, trees, groups and sums; imports the standard library and itself, nothing else."""
