"""The pure heart: parameters, trees, groups and sums. Imports the standard library and itself, nothing else."""
