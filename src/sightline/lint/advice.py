"""The calls of sightline to write instead, made from the expressions that are there."""

from __future__ import annotations

import ast
import re
from keyword import iskeyword

from sightline.lint import words
from sightline.lint.libraries import ARRAY_MAKERS, MEANS, SUMS
from sightline.lint.source import Source
from sightline.lint.syntax import dotted, last_name, literal_start
from sightline.lint.values import Origin, Use
from sightline.values import naming
from sightline.values.naming import NAMESPACES, unconventional

_READERS = {"float", "int", "asarray", "array", "device_get"}
_METHODS = words.named("detach clone cpu to float double half mean sum max min view reshape flatten")
_STATISTIC = re.compile(r"[/_.](mean|avg|average|std|min|max|sum|median|p\d+)$|^(mean|avg|average|max|min)_")
_DECORATION = re.compile(
    r"^(t|dt|time|all|global|local|gathered)_|_(global|all|gathered|local|np|val|value)$"
)
_SECONDS = re.compile(
    r"(_time|_duration|_elapsed|_latency)?(_in)?_(s|sec|secs|seconds|ms|msec|us|ns|delta)$"
    r"|_(time|duration|elapsed|latency)(_delta)?$"
)
_NO_NAMES = words.named("t dt time elapsed duration delta s sec secs seconds took latency")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OURS = {word: word for word in ("mean", "std", "min", "max", "sum", "count")} | naming.OTHER_STATISTICS
_STATISTIC_WORD = f"(?P<statistic>{'|'.join(_OURS)})"
_PER_SECOND = re.compile(r"(?:.*/)?([a-z0-9_]+?)_per_(?:s|sec|secs|second|seconds)(_per_[a-z0-9_]+)?")
#: How parts of keys are spelled elsewhere, and here.
_RESPELLED = [
    (re.compile(pattern), better)
    for pattern, better in (
        (rf"(?P<name>.+)/{_STATISTIC_WORD}/(?:mean|std|min|max|sum|count)", "{name}/{statistic}"),
        (rf"{_STATISTIC_WORD}_(?P<name>.+)", "{name}/{statistic}"),
        (rf"(?P<name>.+)_{_STATISTIC_WORD}", "{name}/{statistic}"),
        (rf"(?P<name>){_STATISTIC_WORD}", "{statistic}"),
        (r"(?P<name>.+)_(?P<statistic>p\d+)", "{name}/{statistic}"),
        (r"(?:num|number|n)_(?:of_)?(?P<name>.+)", "{name}"),
        (r"(?P<name>.+)_(?:cnt|num)", "{name}"),
        (r"(?P<name>.+)_(?:pct|percent|percentage)", "{name}_fraction"),
    )
]
_RATES = {"throughput", "tps", "sps", "fps", "qps", "per", "speed", "mfu"}
#: Where there is no call.
NO_MEDIA = "# sightline has no images and the like; what stays needs an allow with its reason"
_LATEST = {"lr", "learning_rate", "epoch", "version", "temperature", "beta"}


def value_text(source: Source, node: ast.expr) -> str:
    """A value as it can be handed to sightline: without what reads it from its device."""
    return source.expression(unread(node))


def unread(node: ast.expr) -> ast.expr:
    """``x`` of ``float(x)``, ``x.item()``, ``np.asarray(x)`` and ``jax.device_get(x)``."""
    while isinstance(node, ast.Call):
        name = last_name(node.func)
        if name in _READERS and node.args and not isinstance(node.args[0], (ast.Starred, ast.Constant)):
            node = node.args[0]
        elif name == "item" and not node.args and isinstance(node.func, ast.Attribute):
            node = node.func.value
        else:
            break
    return node


def scalar(key: str, value: str, call: str = "scalar") -> str:
    """``sl.scalar(loss=x)``, or ``sl.scalar("train/loss", x)`` for a key that is no identifier."""
    if key.isidentifier() and not iskeyword(key):
        return f"sl.{call}({key}={value})"
    return f'sl.{call}("{key}", {value})'


def entry(source: Source, key: ast.expr | None, value: ast.expr) -> str:
    """The calls for one entry of a dict that is logged; of a dict within it, for each of its own."""
    if key is None:
        return f"sl.scalar(**{value_text(source, value)})"
    given = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
    name = literal_start(key) or "" if given is None else conventional(given)
    quoted = source.expression(key) if given is None else f'"{name}"'
    if isinstance(value, ast.Dict):
        if given is None:
            return f"with sl.scope({quoted}): …  # and in it a call for each of its entries"
        entries = zip(value.keys, value.values, strict=True)
        return "\n".join(entry(source, _within(name, inner), each) for inner, each in entries)
    made = last_name(value) if isinstance(value, ast.Call) else ""
    if made == "Histogram" and isinstance(value, ast.Call) and value.args:
        return f"sl.histogram({quoted}, {value_text(source, value.args[0])})"
    if made == "Table":
        return f"sl.sample({quoted}, …)  # its columns by name: prompt=prompts, reward=rewards"
    if words.is_media(made) or words.is_media(last_name(value)):
        return NO_MEDIA
    last = name.rpartition("/")[2]
    if (isinstance(value, ast.Constant) and isinstance(value.value, str)) or made == "str":
        call = "text"
    elif last in _LATEST:
        call = "last"
    elif found := _PER_SECOND.fullmatch(name):
        return _rate(found)
    elif _is_time(name):
        return f'with sl.record_timing("{timing_name([name], [])}"): …'
    else:
        call = "scalar"
    text = value_text(source, value)
    return f"sl.{call}({quoted}, {text})" if given is None else scalar(name, text, call)


def _rate(found: re.Match[str]) -> str:
    """The rate of an amount, of a key that fits :data:`_PER_SECOND`."""
    return f'sl.rate("{found[1]}{found[2] or ""}", …, over="step")  # the amount alone'


def _within(name: str, inner: ast.expr | None) -> ast.expr | None:
    """The key of a dict within a dict: both, where they are literal."""
    if not isinstance(inner, ast.Constant):
        return inner
    return ast.copy_location(ast.Constant(f"{name}/{inner.value!s}"), inner)


def conventional(key: str) -> str:
    """A key in small letters, as the naming check wants them.

    Example:
        >>> conventional("Train Loss"), conventional("eval/Top-5"), conventional("train/hr@10")
        ('train/loss', 'eval/top_5', 'train/hr@10')
        >>> conventional("train-reward/total"), conventional("train/avg_reward"), conventional("num_tokens")
        ('train/reward/total', 'train/reward/mean', 'tokens')
    """
    parts = [re.sub(r"[^\w@.]+", "_", HUMP.sub("_", part).lower()).strip("_") for part in key.split("/")]
    changed = "/".join(filter(None, parts))
    if changed != key:
        first, _, rest = changed.partition("_")
        changed = f"{first}/{rest}" if first in NAMESPACES and rest else changed
    folder, slash, last = changed.rpartition("/")
    if not _is_odd(changed):
        return changed
    for pattern, better in _RESPELLED:
        before, part = ("", changed) if "/" in pattern.pattern else (folder + slash, last)
        if found := pattern.fullmatch(part):
            statistic = found.groupdict().get("statistic") or ""
            statistic = _OURS.get(statistic, statistic)
            respelled = before + better.format(name=found["name"], statistic=statistic)
            if not _is_odd(respelled):
                return respelled
    return changed


def _is_odd(key: str) -> bool:
    """Whether a key is odd as it is, and under a scope as well."""
    whole = key.replace("{}", "x")
    return bool(unconventional(whole) and unconventional(f"train/{whole}"))


def _is_time(key: str) -> bool:
    return key.startswith(("time/", "timing/", "timing_s/", "timeperf/")) or bool(
        re.search(r"(^|[_/])(time|time_s|seconds|sec|secs|duration|elapsed|latency)$", key)
    )


def is_rate(key: str) -> bool:
    """Whether a key is that of an amount per time."""
    return not _RATES.isdisjoint(words.words(key))


def timing_name(keys: list[str], names: list[str]) -> str:
    """What to call a timing that stood under these keys, in variables of these names."""
    for name in [*(keys if len(keys) == 1 else names[:1]), *keys, *names]:
        if is_rate(name):
            continue
        last = name.rpartition("/")[2].replace("{}", "").strip("_")
        last = re.sub(r"[^a-z0-9_]+", "_", last.lower()).strip("_")
        last = _SECONDS.sub("", _DECORATION.sub("", last))
        if last and last not in _NO_NAMES:
            return last
    return "step"


def metric_name(origin: Origin) -> str:
    """What to call a metric that stood under the keys of an origin, without its statistic."""
    for key in metric_keys(origin):
        return _STATISTIC.sub("", conventional(key)).removesuffix("/count")
    for name in origin.names:
        stripped = _DECORATION.sub("", name.lstrip("_"))
        stripped = _STATISTIC.sub("", stripped)
        if len(stripped) > 1:
            return stripped
    if origin.operand is not None:
        node = origin.operand
        if isinstance(node, ast.Subscript) and (key_ := literal_start(node.slice)):
            return conventional(key_)
        if name := _DECORATION.sub("", last_name(_without_methods(node)).lstrip("_")):
            return name
    return "value"


def _without_methods(node: ast.expr) -> ast.expr:
    """``x`` of ``x.detach().float()``."""
    node = unread(node)
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
        node = node.func.value
    return node


def metric_keys(origin: Origin) -> list[str]:
    """Its keys without their statistics, those first that look most like keys of metrics."""
    keys = [key.removeprefix("{}") for key in origin.keys]
    keys = [key for key in keys if "{}" not in key and not _STATISTIC.fullmatch("/" + key)]
    keys.sort(key=lambda key: ("/" not in key, not words.is_metric_key(key)))
    return list(dict.fromkeys(name for key in keys if (name := _STATISTIC.sub("", key).strip("/"))))


def bare(node: ast.expr) -> ast.expr:
    """``x`` of ``np.asarray([x])``: what is gathered, without what makes an array of it."""
    node = unread(node)
    while isinstance(node, (ast.List, ast.Tuple)) and len(node.elts) == 1:
        node = unread(node.elts[0])
    return node


def written(node: ast.expr) -> ast.expr:
    """``[x, y]`` of ``jnp.stack([x, y])``."""
    while isinstance(node, ast.Call) and last_name(node) in ARRAY_MAKERS and node.args:
        node = node.args[0]
    return node


def instead_of_gathering(source: Source, origin: Origin) -> str:
    """The call that records what each process has."""
    if origin.operand is None:
        return 'sl.summary("…", values)  # each process its own; merged at the commit'
    node = bare(origin.operand)
    text = source.expression(node)
    name = metric_name(origin)
    after = "  # this process's own; merged at the commit"
    if found := _PER_SECOND.fullmatch(name):
        return _rate(found)
    if _is_time(name):  # many durations, such as those of the processes
        folder, slash, _ = name.rpartition("/")
        name = f"{folder}{slash}{timing_name([name], [])}_s"
    if origin.is_mask or origin.mask is not None:
        mask = text if origin.mask is None else source.expression(bare(origin.mask))
        values = "values" if origin.mask is None else text
        return f'sl.masked("{"…" if origin.mask is None else name}", {values}, {mask}){after}'
    if origin.few and origin.is_ratio:
        name, parts = metric_name(origin) if metric_keys(origin) else "…", getattr(written(node), "elts", [])
        both = ", ".join(map(source.expression, parts)) if len(parts) == 2 else "…, …"
        return f'sl.ratio("{name}", {both}){after}'
    if origin.parts is not None and origin.reductions and origin.reductions <= SUMS:
        over, under = (source.expression(bare(each)) for each in origin.parts)
        return f'sl.ratio("{name}", {over}, {under}){after}'
    if origin.few:
        return f'sl.total("{name}", …) or sl.ratio(…) for each number of {text}{after}'
    of_names = words.is_metrics(last_name(node)) and not words.is_sequence(last_name(node))
    if of_names and dotted(node) and not origin.reductions:
        return f"sl.scalar(**{text}){after}"
    if "object" in origin.how and not origin.reductions:
        column = re.sub(r"\W", "_", name)
        return f'sl.sample("samples", {column}={text}){after}; numbers: sl.summary("{name}", {text})'
    if len(metric_keys(origin)) > 3:
        return f'sl.total("{name}", …) or sl.ratio(…) for each number of {text}{after}'
    if origin.reductions and origin.reductions <= SUMS:
        return scalar(name, text, "total") + after
    if Use.METRIC in origin.uses and not origin.reductions & MEANS and node is not unread(origin.operand):
        return scalar(name, text) + after
    return f'sl.summary("{name}", {text}){after}'
