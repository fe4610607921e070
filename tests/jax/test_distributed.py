"""Starting JAX's distributed runtime by what a launcher has set."""

import pytest

from sightline.errors import ConfigurationError
from sightline.jax import initialize

ADDRESS = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_NUM_PROCESSES=2, JAX_PROCESS_ID=None: expected two integers"),
        ({"JAX_PROCESS_ID": "0"}, "JAX_NUM_PROCESSES=None, JAX_PROCESS_ID=0: expected two integers"),
        ({"JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"}, "JAX_NUM_PROCESSES=two"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID=2 with JAX_NUM_PROCESSES=2"),
        ({"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "3"}, "JAX_PROCESS_ID=3 with JAX_NUM_PROCESSES=1"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "-1"}, "numbered from 0"),
        (
            {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1", "JAX_COORDINATOR_ADDRESS": ""},
            "JAX_NUM_PROCESSES=2 without JAX_COORDINATOR_ADDRESS: set it to host:port",
        ),
    ],
)
def test_variables_that_make_no_job_are_named(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before JAX is asked for anything."""
    for name, value in {"JAX_COORDINATOR_ADDRESS": ADDRESS, **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        initialize()
    assert message in str(caught.value)


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}])
def test_a_job_of_one_process_needs_no_runtime(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not initialize()
