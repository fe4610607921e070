"""The choice of a transport, and what is said when it cannot work."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import sightline as sl
from sightline.transports import LocalTransport, connect
from sightline.transports.jax_store import JaxStoreTransport


@pytest.mark.parametrize("name", ["nccl", "", None, 3])
def test_an_unknown_name_is_told_the_known_ones(name: Any) -> None:
    with pytest.raises(sl.ConfigurationError) as caught:
        connect(name)
    for known in (repr(name), "'auto'", "'local'", "'jax_store'", "'process_allgather'"):
        assert known in str(caught.value)


def test_a_job_of_one_process_is_local() -> None:
    for transport in (connect("local"), connect()):
        assert isinstance(transport, LocalTransport)
        assert (transport.process, transport.processes, transport.is_root) == (0, 1, True)


def test_a_transport_of_ones_own_is_taken_as_it_is() -> None:
    transport = LocalTransport()
    assert connect(transport) is transport


def test_a_transport_that_is_not_collective_says_so() -> None:
    with pytest.raises(sl.TransportError, match="LocalTransport is not collective"):
        LocalTransport().exchange(b"")


def test_the_store_without_a_client_is_told_the_line_to_add() -> None:
    with pytest.raises(sl.ConfigurationError, match=r"jax\.distributed\.initialize\(\)"):
        connect("jax_store")


_METHODS = ["key_value_set_bytes", "blocking_key_value_get_bytes", "key_value_dir_get_bytes"]


@pytest.mark.parametrize(
    ("state", "gone"),
    [
        (None, "global_state"),
        (SimpleNamespace(process_id=0, num_processes=2), "client"),
        (SimpleNamespace(client=None, process_id=0, num_processes=2), "key_value_set_bytes"),
        (SimpleNamespace(client=SimpleNamespace(**dict.fromkeys(_METHODS))), "process_id"),
        (
            SimpleNamespace(client=SimpleNamespace(**dict.fromkeys(_METHODS)), process_id=0, num_processes=2),
            "key_value_delete",
        ),
    ],
    ids=["no state", "no client", "no client yet", "no ranks", "a method gone"],
)
@pytest.mark.parametrize("name", ["auto", "jax_store"])
def test_a_jax_that_keeps_its_client_elsewhere_is_told_with_the_file_to_change(
    monkeypatch: pytest.MonkeyPatch, name: Any, state: Any, gone: str
) -> None:
    """What is private may go with any release of JAX, and must not end in an AttributeError."""
    import jax
    from jax._src import distributed

    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    if state is None:
        monkeypatch.delattr(distributed, "global_state")
    else:
        monkeypatch.setattr(distributed, "global_state", state)
    with pytest.raises(sl.ConfigurationError) as caught:
        connect(name)
    for said in (gone, jax.__version__, "sightline/jax/distributed.py", "process_allgather"):
        assert said in str(caught.value)


def test_a_jax_that_is_whole_gives_its_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax
    from jax._src import distributed

    client = SimpleNamespace(**dict.fromkeys([*_METHODS, "key_value_delete"]))
    state = SimpleNamespace(client=client, process_id=3, num_processes=4)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "global_state", state)
    transport = connect()
    assert (transport.process, transport.processes, transport.is_root) == (3, 4, False)


class _Store:
    """A key-value store whose deletions fail, as a client that loses its server between two calls."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def key_value_set_bytes(self, key: str, value: bytes) -> None:
        if key in self.entries:
            raise RuntimeError("ALREADY_EXISTS")
        self.entries[key] = value

    def blocking_key_value_get_bytes(self, key: str, timeout_in_ms: int) -> bytes:
        if key not in self.entries:
            raise RuntimeError("DEADLINE_EXCEEDED")
        return self.entries[key]

    def key_value_dir_get_bytes(self, prefix: str) -> Sequence[tuple[str, bytes]]:
        return [(key, value) for key, value in self.entries.items() if key.startswith(prefix)]

    def key_value_delete(self, key: str) -> None:
        raise RuntimeError("UNAVAILABLE")


def test_posts_arrive_once_and_in_order_though_they_cannot_be_deleted() -> None:
    from sightline.transports.jax_store import JaxStoreTransport

    store: Any = _Store()
    root, peer = (JaxStoreTransport(store, process, 2) for process in range(2))
    for number in range(12):
        peer.post("run.1", b"%d" % number)
    assert root.poll("run.1") == [b"%d" % number for number in range(12)]
    peer.post("run.1", b"12")
    assert root.poll("run.1") == [b"12"]
    assert root.poll("run.2") == []
    root.publish("name", b"value")
    assert peer.lookup("name", 1) == b"value"
    assert peer.lookup("other", 0.001) is None
    with pytest.raises(sl.TransportError, match="UNAVAILABLE"):
        root.retract("name")


class Store:
    """What the transport uses of JAX's client, for one process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def key_value_set_bytes(self, key: str, value: bytes) -> None:
        if key in self.values:
            raise RuntimeError("ALREADY_EXISTS")
        self.values[key] = value

    def key_value_dir_get_bytes(self, prefix: str) -> list[tuple[str, bytes]]:
        return [(key, value) for key, value in self.values.items() if key.startswith(prefix)]

    def key_value_delete(self, key: str) -> None:
        self.values.pop(key, None)


def test_channels_do_not_disturb_each_other() -> None:
    """Threads post on channels of their own: a number that two of them share would be lost now and then."""
    store: Any = Store()
    root, other = JaxStoreTransport(store, 0, 2), JaxStoreTransport(store, 1, 2)
    for i in range(3):
        other.post("commits", b"commit %d" % i)
        other.post("clock/commits", b"clock %d" % i)
    assert sorted(key.rpartition(".")[2] for key in store.values) == list("001122")
    assert root.poll("clock/commits") == [b"clock 0", b"clock 1", b"clock 2"]
    assert root.poll("commits") == [b"commit 0", b"commit 1", b"commit 2"]
    other.post("clock/commits", b"clock 3")
    assert root.poll("clock/commits") == [b"clock 3"]
    assert store.values == {}


def test_a_channel_has_no_part_in_those_below_it() -> None:
    store = _Store()
    transport = JaxStoreTransport(store, 1, 2)
    transport.post("a", b"1")
    transport.post("a/b", b"2")
    assert JaxStoreTransport(store, 0, 2).poll("a") == [b"1"]
