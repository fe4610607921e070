"""SL103: reads of a step's output that hold the loop.

A read counts in a loop that also makes what is read. One that only decides something (an early stop, a check
for NaN) is none for logging, and so is a whole array that goes on into the work of the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sightline.lint import advice, words
from sightline.lint.findings import BLOCKING_READ, Finding
from sightline.lint.source import Source
from sightline.lint.syntax import last_name
from sightline.lint.values import Kind, Origin, Use

_NUMBERS = {"float", "item", "float16", "float32", "float64"}


def findings(source: Source, origins: Iterable[Origin]) -> Iterator[Finding]:
    """The reads for logging, and the recording calls that wait for nothing."""
    found = [origin for origin in origins if origin.kind is Kind.READ and _is_for_logging(origin)]
    for origin in found:
        if origin.inner not in found:
            yield source.finding(BLOCKING_READ, origin.node, _instead(source, origin), _why(source, origin))


def _is_for_logging(origin: Origin) -> bool:
    uses = origin.uses - {Use.DECIDES, Use.LOGGED}
    if Use.DECIDES in origin.uses and not origin.uses & {Use.LOGGED, Use.RETURNED}:
        uses.discard(Use.METRIC)  # a dict by which a checkpoint is kept looks like one of metrics
    if origin.how == "block_until_ready":
        return True
    shown = bool(uses & {Use.METRIC, Use.PRINT})
    if origin.operand is not None and words.is_counter(last_name(advice.unread(origin.operand))):
        return Use.METRIC in uses  # state.step, for a checkpoint's name
    if origin.how in _NUMBERS:
        if shown or not origin.step_like:
            return shown
        if uses == {Use.RETURNED} and not origin.here:
            return False  # the caller's affair
        return not uses or uses != uses & {Use.CONTROL, Use.SIZE, Use.NEEDED}
    if origin.how == "int":
        return shown
    if uses & {Use.NEEDED, Use.SIZE} and not (shown and origin.of_metrics):
        return False
    return shown or (Use.NUMBER in uses and (origin.here or Use.RETURNED not in uses))


def _why(source: Source, origin: Origin) -> str:
    if origin.how == "block_until_ready":
        return "block_until_ready holds the loop until the device is done, so that the next step starts late."
    what = advice.value_text(source, origin.operand) if origin.operand is not None else "it"
    return f"The loop waits here until the device has computed {what}, and the next step starts late."


def _is_torch(source: Source) -> bool:
    return "import torch" in source.text and "jax" not in source.text


def _instead(source: Source, origin: Origin) -> str:
    node = advice.unread(origin.operand or origin.node)
    text = source.expression(node)
    if origin.how == "block_until_ready":
        return f'with sl.record_timing("step") as timing: …; timing.until({text})'
    if any(step.how == "backward" for step in origin.read) or _is_torch(source):
        name = advice.metric_name(origin)
        if origin.how in _NUMBERS:
            call = advice.scalar(name, f"{text}.item()")
        else:
            call = f'sl.summary("{name}", {source.expression(origin.node)})'
        return f"{call}  # PyTorch: for the last step before a commit, not for each"
    whole = origin.how not in _NUMBERS or last_name(origin.node) in ("map", "tree_map")
    if whole and (origin.has_names or words.is_metrics(last_name(node))):
        return f"sl.scalar(**{text})  # arrays as they are: the commit picks them up"
    name = advice.metric_name(origin)
    if origin.how in _NUMBERS or origin.how == "int":
        return advice.scalar(name, text) + "  # the array as it is: the commit picks it up"
    return f'sl.summary("{name}", {text})  # the array as it is: the commit picks it up'
