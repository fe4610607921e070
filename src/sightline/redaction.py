"""Taking credentials out of plain data: by the words of their names, and by what they look like."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

REDACTED = "[redacted]"

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    ("apikey", "apitoken", "authtoken", "accesstoken", "accesskey", "privatekey", "secretkey", "bearer")
).union(
    ("authorization", "cookie", "cookies", "credential", "credentials", "jwt", "passcode", "passphrase"),
    ("passwd", "password", "passwords", "pwd", "secret", "secrets"),
)
_SECRET_PAIRS = frozenset(
    (first, second)
    for firsts, seconds in (
        (("access", "account", "api", "auth", "encryption", "master", "private", "secret"), ("key", "keys")),
        (("signing", "ssh", "subscription"), ("key", "keys")),
        (("anthropic", "comet", "hf", "mlflow", "neptune", "openai", "swanlab", "wandb"), ("key", "keys")),
        (("access", "api", "auth", "bot", "github", "gitlab", "hf", "refresh", "wandb"), ("tokens",)),
        (("db", "ftp", "mail", "proxy", "redis", "smtp", "user"), ("pass",)),
    )
    for first in firsts
    for second in seconds
)
# What stands before or behind "token" where it is one of a vocabulary, or where tokens are counted.
_BEFORE_TOKEN = frozenset(
    ("begin", "bos", "class", "cls", "end", "eos", "image", "mask", "pad", "sep", "special", "start", "stop")
).union(("unk", "avg", "max", "mean", "min", "n", "num", "per", "total"))
_BEHIND_TOKEN = frozenset(
    ("batch", "budget", "count", "counts", "dim", "dropout", "embedding", "embeddings", "len", "length")
).union(("level", "limit", "loss", "mask", "penalty", "rate", "size", "type", "weight", "weights"))
_SCHEMES = frozenset(("apikey", "basic", "bearer", "digest", "negotiate", "token"))

_IN_STRINGS = (
    re.compile(
        r"(?P<kept>)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.S
    ),
    # https://user:password@host; a path loses one of the slashes
    re.compile(r"(?P<kept>:/{1,2}[^/@\s:]*:)(?!\d+(?:/|$))(?:(?!://)[^\s\"'<>])+(?=@)"),
    re.compile(r"(?P<kept>:/{1,2})[^/@\s:]{20,}(?=@)"),  # https://token@host
    re.compile(r"(?P<kept>[?&](?:[\w-]+[_-])?(?:auth|code|key|sig|signature)=)[^&#\s\"']+", re.IGNORECASE),
    re.compile(
        r"(?P<kept>\bauthorization\\*[\"']?\s*[:=]\s*\\*[\"']?"
        r"(?:(?:apikey|basic|bearer|digest|negotiate|token)\s+)?)"
        r"(?!(?:apikey|basic|bearer|digest|negotiate|token)\s)[^\s\"'\\,;}\[]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<kept>\bbearer +)[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?P<kept>(?<!\S)(?:-u|--user)[ =][^\s:]+:)[^\s/]+"),  # curl -u user:password
    # as they are given out: JSON web tokens, and those of Hugging Face, GitHub, GitLab, Slack, Google, OpenAI
    re.compile(r"(?P<kept>)\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"(?P<kept>)\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{20,})"),
    re.compile(r"(?P<kept>)\b(?:glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AIza[\w-]{30,})"),
    re.compile(r"(?P<kept>)\bsk-(?=[\w-]*\d)[\w-]{20,}"),
)
# NAME=all of the line; name=value, "name": "value", name: value; --name value. The first of each is the name.
_NAMED = (
    (re.compile(r"^[ \t]*(?:export +)?([A-Za-z][\w.\-]*) *= *", re.MULTILINE), re.compile(r"\S.*")),
    (
        re.compile(r"(?<![\w.])([A-Za-z][\w.\-]{0,99})\\*[\"']?[ \t]*(?:=|:(?!/))[ \t]*"),
        re.compile(r"\\*\"[^\"]*\"|\\*'[^']*'|\[redacted\]|[^\s,;&#\"'}\])]+"),
    ),
    (
        re.compile(r"(?<!\S)--?([A-Za-z][\w.\-]*) +"),
        re.compile(r"\"[^\"]*\"|'[^']*'|(?!-)\S+"),
    ),
)

_ASSIGNED = re.compile(r"[-+~]{0,2}[\w.\-]+")  # what stands before the "=" of an argument


def redacted(config: Any) -> Any:
    """Plain data with credentials taken out.

    A credential is what has a name of which a whole word says so (``api_key``, ``dbPassword``, ``HF_TOKEN``),
    in mappings, in lists of pairs, in ``{"name": …, "value": …}``, in options of a command line; and, in
    strings, also where they are JSON, what stands behind such a name, in URLs and headers, or looks like a
    token as well-known services give them out. All below such a name is taken out, numbers too; what is
    false stays.

    Example:
        >>> redacted({"api_key": "abc", "pad_token_id": 0, "max_tokens": 8, "tokenizer": "byte"})
        {'api_key': '[redacted]', 'pad_token_id': 0, 'max_tokens': 8, 'tokenizer': 'byte'}
        >>> redacted({"url": "https://me:hunter2@host/x", "args": ["--api-key", "abc", "--n=1"]})
        {'url': 'https://me:[redacted]@host/x', 'args': ['--api-key', '[redacted]', '--n=1']}
    """
    return _redacted(config, False)


def _redacted(config: Any, secret: bool) -> Any:
    if isinstance(config, dict):
        named = config.get("name", config.get("key"))  # {"name": "API_KEY", "value": "abc"}
        is_named = "value" in config and isinstance(named, str) and names_secret(named)
        return {
            _without(name) if isinstance(name, str) else name: _redacted(
                value, secret or names_secret(str(name)) or (is_named and name == "value")
            )
            for name, value in config.items()
        }
    if isinstance(config, list):
        return _redacted_list(config, secret)
    if secret and config and not isinstance(config, bool):
        return REDACTED
    return _without(config) if isinstance(config, str) else config


def _redacted_list(config: list[Any], secret: bool) -> list[Any]:
    are_pairs = bool(config) and all(
        isinstance(each, list) and len(each) == 2 and isinstance(each[0], str) for each in config
    )
    if are_pairs and not secret:
        return [[_without(name), _redacted(value, names_secret(name))] for name, value in config]
    before = itertools.chain([None], config)
    return [
        _redacted(
            each, secret or (isinstance(option, str) and _wants_secret(option) and not _is_option(each))
        )
        for option, each in zip(before, config, strict=False)
    ]


def redacted_command(arguments: Sequence[str]) -> list[str]:
    """A command line with credentials taken out: values of options, ``name=value``, and in strings.

    Example:
        >>> redacted_command(["train.py", "--hf_token", "abc", "wandb.api_key=def", "--lr=0.1"])
        ['train.py', '--hf_token', '[redacted]', 'wandb.api_key=[redacted]', '--lr=0.1']
    """
    shown: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, equals, value = argument.partition("=")
        if _wants_secret(before):
            shown.append(REDACTED)
        elif equals and value and _ASSIGNED.fullmatch(name) and names_secret(name):
            shown.append(f"{name}={REDACTED}")
        else:
            shown.append(_without(argument))
    return shown


def names_secret(name: str) -> bool:
    """Whether a whole word, or two, of a name say that it is of a credential.

    Example:
        >>> [names_secret(name) for name in ("WANDB_API_KEY", "accessToken", "pad_token", "token_count")]
        [True, True, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if any(word in _SECRET_WORDS for word in words):
        return True
    if words[-1] in ("id", "ids"):
        return False
    if words[-1] == "auth" or any(pair in _SECRET_PAIRS for pair in itertools.pairwise(words)):
        return True
    return any(
        word == "token" and before not in _BEFORE_TOKEN and behind not in _BEHIND_TOKEN
        for before, word, behind in zip(["", *words], words, [*words[1:], ""], strict=False)
    )


def _wants_secret(argument: str) -> bool:
    """Whether it is an option whose value is the next argument, and a credential."""
    return _is_option(argument) and "=" not in argument and names_secret(argument)


def _is_option(argument: Any) -> bool:
    return isinstance(argument, str) and argument.startswith("-") and " " not in argument


def _without(text: str) -> str:
    """A string without the credentials in it."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            inside = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            shown = redacted(inside) if isinstance(inside, Mapping | list) else inside
            return text if shown == inside else orjson.dumps(shown).decode()
    for pattern in _IN_STRINGS:
        text = pattern.sub(rf"\g<kept>{REDACTED}", text)
    for name, value in _NAMED:
        text = _without_named(text, name, value)
    return text


def _without_named(text: str, name: re.Pattern[str], value: re.Pattern[str]) -> str:
    """A string without the values that stand behind names of credentials."""
    shown: list[str] = []
    done = 0
    for named in name.finditer(text):
        if named.start() >= done and names_secret(named[1]):
            found = value.match(text, named.end())
            if found is not None and not _is_harmless(found[0]):
                quotes = re.match(r"\\*[\"']", found[0])
                quote = quotes[0] if quotes and found[0].endswith(quotes[0]) else ""
                shown += [text[done : found.start()], quote, REDACTED, quote]
                done = found.end()
    return "".join(shown) + text[done:]


def _is_harmless(value: str) -> bool:
    """What was taken out before, or names how one logs in."""
    return REDACTED in value or value.strip("\\\"'").split(" ")[0].lower() in _SCHEMES
