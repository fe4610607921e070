"""What a scrape shows, as Prometheus's own parsers read it."""

from __future__ import annotations

import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scraped(port: int, accept: str = "*/*") -> dict[str, tuple[float, dict[str, str], str]]:
    """Of each name the value, the labels and the help text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        page = answer.read().decode()
    parse = parsed_openmetrics if accept == OPENMETRICS else parsed_text
    families = list(parse(page))
    assert all(family.type == "gauge" for family in families)
    return {
        sample.name: (sample.value, dict(sample.labels), family.documentation)
        for family in families
        for sample in family.samples
    }
