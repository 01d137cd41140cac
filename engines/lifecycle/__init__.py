"""The life of a job on engines that schedule by themselves: what is known of it, and what follows.

Shared by the engines that start each attempt on their own (local, docker, slurm). Pure but for the
timers, and nothing here imports gRPC or an orchestrator's SDK.
"""
