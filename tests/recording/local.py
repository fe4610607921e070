"""What the tests of recording share."""

from typing import Any

import sightline as sl


def local(tracker: sl.StatsTracker) -> dict[str, Any]:
    """What this process has recorded, which is then forgotten."""
    return tracker.export(reduce="local")
