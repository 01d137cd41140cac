"""Reads one Job's status with the official client, on so many threads, for a while."""

import threading
import time

from benchmarks.kubernetes_cluster import official_client
from benchmarks.loads import answer, arguments


def read(kubeconfig: str, namespace: str, name: str, until: float, counts: list[int]) -> None:
    """Read it again and again."""
    sdk = official_client(kubeconfig)
    count = 0
    while time.perf_counter() < until:
        sdk.read_namespaced_job_status(name, namespace)
        count += 1
    counts.append(count)


def main(*, kubeconfig: str, namespace: str, name: str, threads: int, seconds: float) -> None:
    """Tell how many reads there were in a second."""
    counts: list[int] = []
    until = time.perf_counter() + seconds
    readers = [
        threading.Thread(target=read, args=(kubeconfig, namespace, name, until, counts))
        for _ in range(threads)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    answer(per_second=sum(counts) / seconds)


if __name__ == "__main__":
    main(**arguments())
