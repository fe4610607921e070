"""Run as a program: whether JAX's coordination service works as sightline uses it. Starts no back end."""

from __future__ import annotations

import os
import socket
import sys


def main() -> int:
    """Starts a job of one process on the loopback, and sends something through its store."""
    import jax

    from sightline.jax.distributed import backend_is_running, distributed, moved
    from sightline.transports.jax_store import JaxStoreTransport

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    jax.distributed.initialize(
        address,
        1,
        0,
        coordinator_bind_address=address,
        cluster_detection_method="deactivate",
        initialization_timeout=20,
    )
    found = distributed()
    assert found is not None, "jax.distributed says that it is not initialised"
    store = JaxStoreTransport(found.client, found.process, found.processes)
    store.post("doctor", b"a post")
    assert store.poll("doctor") == [b"a post"], "what was posted did not arrive"
    assert store.poll("doctor") == [], "what was read could not be deleted"
    store.publish("doctor/word", b"a word")
    assert store.lookup("doctor/word", 5.0) == b"a word", "what was published cannot be read"
    assert store.lookup("doctor/nothing", 0.01) is None, "what was never published can be read"
    assert not (names := moved()), f"this JAX keeps elsewhere: {', '.join(names)}"
    assert not backend_is_running(), "a back end has been started"
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except Exception as error:  # noqa: BLE001 - the last line is what is read
        print(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)  # without JAX's barrier
