"""What a sink's warnings say."""

from __future__ import annotations

import pytest

from sightline.sinks.once import Once


def test_credentials_of_an_exception_are_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """As HTTP clients put the whole URL into their errors; the traceback has them too."""
    once = Once("mlflow")
    try:
        raise ConnectionError("refused: http://me:hunter2@host/?token=hunter2")
    except ConnectionError as error:
        once.warn("fails", f"fails: {error}", exc_info=True)
    (said,) = caplog.records
    assert "hunter2" not in caplog.text
    shown = "refused: http://me:[redacted]@host/?token=[redacted]"
    assert said.getMessage().startswith(f"sightline: sink mlflow fails: {shown} (said once)\nTraceback")
    assert said.getMessage().endswith(f"ConnectionError: {shown}\n")
