"""Runs jobs on a Slurm cluster, through its own commands and a directory that its nodes share."""
