"""Lists a namespace's Jobs in pages with the official client, and tells how long that took."""

import time

from benchmarks.kubernetes_cluster import official_client
from benchmarks.loads import answer, arguments
from engines.kubernetes.cluster import PAGE_SIZE


def main(*, kubeconfig: str, namespace: str) -> None:
    """Tell how many there are, too."""
    sdk = official_client(kubeconfig)
    began = time.perf_counter()
    count, more = 0, ""
    while True:
        page = sdk.list_namespaced_job(namespace, limit=PAGE_SIZE, _continue=more)
        count += len(page.items)
        if not (more := page.metadata._continue):  # noqa: SLF001  (so the client calls it)
            break
    answer(count=count, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main(**arguments())
