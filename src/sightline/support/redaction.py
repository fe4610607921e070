"""Taking credentials out of plain data: by the words of their names, and by what they look like."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import orjson

REDACTED = "[redacted]"

_DEEPEST = 100  # levels of plain data that are looked into; what lies deeper is not shown
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    ("apikey", "apitoken", "authtoken", "accesstoken", "accesskey", "privatekey", "secretkey", "bearer")
).union(
    ("apikeys", "apitokens", "authtokens", "accesstokens", "accesskeys", "privatekeys", "secretkeys"),
    ("authorization", "cookie", "cookies", "credential", "credentials", "creds", "jwt", "otp", "totp"),
    ("passcode", "passkey", "passkeys", "passphrase", "passwd", "password", "passwords", "pwd"),
    ("secret", "secrets"),
)
_COUNTS = frozenset(("count", "counts", "len", "length", "size"))  # password_len
_SECRET_PAIRS = frozenset(
    (first, second)
    for firsts, seconds in (
        (("access", "account", "api", "auth", "encryption", "master", "private", "secret"), ("key", "keys")),
        (("signing", "ssh", "subscription"), ("key", "keys")),
        (("anthropic", "comet", "hf", "mlflow", "neptune", "openai", "swanlab", "wandb"), ("key", "keys")),
        (("clearml", "cohere", "dashscope", "datadog", "deepseek", "fireworks", "gemini"), ("key", "keys")),
        (
            ("google", "groq", "huggingface", "kaggle", "langchain", "langfuse", "langsmith", "license"),
            ("key", "keys"),
        ),
        (
            ("mistral", "moonshot", "ngc", "openrouter", "perplexity", "pinecone", "replicate"),
            ("key", "keys"),
        ),
        (("runpod", "sendgrid", "sentry", "serpapi", "serper", "stripe", "tavily", "xai"), ("key", "keys")),
        (("access", "api", "auth", "bot", "github", "gitlab", "hf", "refresh", "wandb"), ("tokens",)),
        (("admin", "database", "db", "ftp", "ldap", "login", "mail", "mongo"), ("pass", "pw")),
        (("mqtt", "mysql", "pg", "postgres", "proxy", "rabbitmq", "redis", "root"), ("pass", "pw")),
        (("smtp", "ssh", "sudo", "user"), ("pass", "pw")),
        (("azure", "gh", "github", "gitlab"), ("pat",)),
    )
    for first in firsts
    for second in seconds
)
_SECRET_TRIPLES = frozenset(
    ("azure", service, "key") for service in ("batch", "cosmos", "search", "speech", "storage")
) | {("rabbitmq", "default", "pass")}
# Words that names are glued of, as in PGPASSWORD and wandbapikey.
_SECRET_ENDINGS = tuple(
    word + plural
    for words in (
        ("accesskey", "accesstoken", "apikey", "apitoken", "authtoken", "passphrase", "passwd"),
        ("password", "privatekey", "secret", "secretkey", "sshpass"),
    )
    for word in words
    for plural in ("", "s")
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
    re.compile(r"(?P<kept>:/{1,2})[^/@\s:]{16,}(?=@)"),  # https://token@host
    # user:password@host:port, as some have it without a scheme
    re.compile(
        r"(?P<kept>(?<![\w.%+:/@-])[\w.%+-]{0,64}:)[^\s:@/\"'<>\[\]]{1,128}(?=@[\w.-]{1,253}:\d{2,5}(?!\w))"
    ),
    # URLs that are credentials themselves: who knows them may post
    re.compile(r"(?P<kept>\bhooks\.slack\.com/(?:services|triggers|workflows)/)[\w/-]+"),
    re.compile(r"(?P<kept>\bdiscord(?:app)?\.com/api/webhooks/)[\w/-]+"),
    re.compile(r"(?P<kept>\blogin\s+\S+\s+(?:account\s+\S+\s+)?password\s+)\S+"),  # a line of .netrc
    re.compile(r"(?P<kept>[?&](?:[\w-]+[_-])?(?:auth|code|key|sig|signature)=)[^&#\s\"']+", re.IGNORECASE),
    re.compile(
        r"(?P<kept>\bauthorization\\*[\"']?\s*[:=]\s*\\*[\"']?"
        r"(?:(?:apikey|basic|bearer|digest|negotiate|token)\s+)?)"
        r"(?!(?:apikey|basic|bearer|digest|negotiate|token)\s|(?:none|null)\b)[^\s\"'\\,;}\[]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<kept>\bbearer +)[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?P<kept>(?<!\S)(?:-u|--user)[ =][^\s:]+:)[^\s/]+"),  # curl -u user:password
    # as they are given out: JSON web tokens, and those of Hugging Face, GitHub, GitLab, Slack, Google,
    # OpenAI, AWS and W&B
    re.compile(r"(?P<kept>)\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"(?P<kept>)\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{20,})"),
    re.compile(r"(?P<kept>)\b(?:glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AIza[\w-]{30,})"),
    re.compile(r"(?P<kept>)\bsk-(?=[\w-]*\d)[\w-]{20,}"),
    re.compile(r"(?P<kept>)\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b|wandb_v\d_\w{20,})"),
)
# NAME=all of the line; name=value, "name": "value", name: value; --name value. The first of each is the name.
_NAMED = (
    (re.compile(r"^[ \t]*(?:export +)?([A-Za-z_][\w.\-]*) *= *", re.MULTILINE), re.compile(r"\S.*")),
    (
        re.compile(r"(?<![\w.])([A-Za-z_][\w.\-]{0,99})\\*[\"']?[ \t]*(?:=|:(?!/))[ \t]*"),
        re.compile(r"\\*\"[^\"]*\"|\\*'[^']*'|\[redacted\]|[^\s,;&#\"'}\])]+"),
    ),
    (
        re.compile(r"(?<!\S)--?([A-Za-z_][\w.\-]*) +"),
        re.compile(r"\"[^\"]*\"|'[^']*'|(?!-)\S+"),
    ),
)

# What stands under a name of tokens, and is none: special tokens of a vocabulary, places of variables and
# metrics in templates, small numbers, switches.
_NO_TOKEN = re.compile(
    r"<[^<>]*>|\[[a-z_]+\d*\]|\$\{\w+\}?|\{[\w.@-]+/[\w./@-]+(?::[^{}]*)?\}?|"
    r"[-+]?(?:\d{1,4}(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?|true|false|none|null",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[A-Za-z]{1,15}")
_ASSIGNED = re.compile(r"[-+~]{0,2}[\w.\-]+")  # what stands before the "=" of an argument


def redacted(config: Any) -> Any:
    """Plain data with credentials taken out.

    A credential is what has a name of which a whole word says so (``api_key``, ``dbPassword``, ``HF_TOKEN``),
    in mappings, in lists of pairs, in ``{"name": …, "value": …}``, in options of a command line; and, in
    strings, also where they are JSON, what stands behind such a name, in URLs and headers, or looks like a
    token as well-known services give them out. All below such a name is taken out, numbers too; what is
    true or false stays. Under names with ``token``, which is also a word of language models, numbers and what
    looks like ``<think>`` or ``<|user|>`` stay. What lies deeper than 100 levels, those of JSON in strings
    included, is named by its type, as ``[dict]``.

    Example:
        >>> redacted({"api_key": "abc", "pad_token_id": 0, "max_tokens": 8, "tokenizer": "byte"})
        {'api_key': '[redacted]', 'pad_token_id': 0, 'max_tokens': 8, 'tokenizer': 'byte'}
        >>> redacted({"url": "https://me:hunter2@host/x", "args": ["--api-key", "abc", "--n=1"]})
        {'url': 'https://me:[redacted]@host/x', 'args': ['--api-key', '[redacted]', '--n=1']}
        >>> redacted({"token_clip": 0.2, "think_token": "<think>", "hf_token": "abc"})
        {'token_clip': 0.2, 'think_token': '<think>', 'hf_token': '[redacted]'}
    """
    try:
        return _redacted(config, _Below.NOTHING)
    except RecursionError:  # the caller's own stack is nearly full, and who knows what is in there
        return _placeholder(config)


class _Below(IntEnum):
    """What is a credential below a name."""

    NOTHING = 0
    LONG = 1  # strings of letters and digits, long enough to be one
    TEXT = 2  # strings that are nothing else by their looks
    ALL = 3


def _redacted(config: Any, below: _Below, parent: str = "", depth: int = 0) -> Any:
    if isinstance(config, dict | list) and depth >= _DEEPEST:
        return _placeholder(config)
    if isinstance(config, dict):
        named = config.get("name", config.get("key"))  # {"name": "API_KEY", "value": "abc"}
        is_named = isinstance(named, str) and names_secret(named)
        if below is _Below.LONG:
            below = _Below.NOTHING
        return {
            _without(name, depth) if isinstance(name, str) else name: _redacted(
                value,
                max(
                    below,
                    _below(str(name), parent),
                    _Below.ALL if is_named and name in ("value", "val") else _Below.NOTHING,
                ),
                str(name),
                depth + 1,
            )
            for name, value in config.items()
        }
    if isinstance(config, list):
        return _redacted_list(config, below, depth)
    if isinstance(config, str):
        return REDACTED if config and _is_secret(config, below) else _without(config, depth)
    return REDACTED if below is _Below.ALL and config and not isinstance(config, bool) else config


def _placeholder(config: Any) -> str:
    return f"[{type(config).__name__}]"


def _redacted_list(config: list[Any], below: _Below, depth: int) -> list[Any]:
    if config and not below and all(map(_is_pair, config)):
        return [
            [_without(name, depth), _redacted(value, _below(name), name, depth + 2)] for name, value in config
        ]
    before = itertools.chain([None], config)
    return [
        _redacted_lone_pair(*each, depth=depth + 1)
        if not below and _is_pair(each)
        else _redacted(each, below if _is_option(each) else max(below, _wanted(option)), depth=depth + 1)
        for option, each in zip(before, config, strict=False)
    ]


def _is_pair(config: Any) -> bool:
    return isinstance(config, list) and len(config) == 2 and isinstance(config[0], str)


def _redacted_lone_pair(name: str, value: Any, *, depth: int) -> list[Any]:
    """Two items among others, of which the first may be the name of the second: ``("token", "abc…")``."""
    below = _below(name)
    if not below:
        return _redacted_list([name, value], below, depth)
    below = below if below is _Below.ALL else _Below.LONG
    return [_without(name, depth), _redacted(value, below, name, depth + 1)]


def redacted_command(arguments: Sequence[str]) -> list[str]:
    """A command line with credentials taken out: values of options, ``name=value``, and in strings.

    Example:
        >>> redacted_command(["train.py", "--hf_token", "abc", "wandb.api_key=def", "--lr=0.1"])
        ['train.py', '--hf_token', '[redacted]', 'wandb.api_key=[redacted]', '--lr=0.1']
    """
    shown: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, equals, value = argument.partition("=")
        if _is_secret(argument, _wanted(before)):
            shown.append(REDACTED)
        elif equals and value and _ASSIGNED.fullmatch(name) and _is_secret(value, _below(name)):
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
    return _below(name) is not _Below.NOTHING


def _below(name: str, parent: str = "") -> _Below:
    """What a name says of what is below it; ``{"wandb": {"key": …}}`` is as ``wandb.key``."""
    words = [word.lower() for word in _WORD.findall(name)]
    if len(words) == 1 and parent:
        pair = ([word.lower() for word in _WORD.findall(parent)][-1:] or [""])[0], words[0]
        if pair in _SECRET_PAIRS:
            return _Below.ALL
    if not words or words[-1] in _COUNTS:
        return _Below.NOTHING
    if any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS) for word in words):
        return _Below.ALL
    if words[-1] in ("id", "ids"):
        return _Below.NOTHING
    if words[-1] == "auth" or any(pair in _SECRET_PAIRS for pair in itertools.pairwise(words)):
        return _Below.ALL
    if not _SECRET_TRIPLES.isdisjoint(zip(words, words[1:], words[2:], strict=False)):
        return _Below.ALL
    if name.lower() == "pass" or any(
        word == "token" and before not in _BEFORE_TOKEN and behind not in _BEHIND_TOKEN
        for before, word, behind in zip(["", *words], words, [*words[1:], ""], strict=False)
    ):
        return _Below.TEXT
    return _Below.LONG if name.lower() in ("pat", "tokens") else _Below.NOTHING


def _is_secret(value: str, below: _Below) -> bool:
    if below in (_Below.NOTHING, _Below.ALL):
        return below is _Below.ALL
    if _NO_TOKEN.fullmatch(value.strip("\\\"' .,;:")):
        return False
    return below is _Below.TEXT or (
        len(value) >= 12
        and not any(letter.isspace() for letter in value)
        and any(map(str.isdigit, value))
        and any(map(str.isalpha, value))
    )


def _wanted(argument: Any) -> _Below:
    """What the next argument is, if this is an option."""
    is_open = _is_option(argument) and "=" not in argument
    return _below(argument) if is_open else _Below.NOTHING


def _is_option(argument: Any) -> bool:
    return isinstance(argument, str) and argument.startswith("-") and " " not in argument


def _without(text: str, depth: int = 0) -> str:
    """A string without the credentials in it, which lies so deep in what is looked into."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            inside = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            shown = _redacted(inside, _Below.NOTHING, depth=depth)
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
        below = _below(named[1]) if named.start() >= done else _Below.NOTHING
        found = value.match(text, named.end()) if below else None
        if found is None or _is_harmless(found[0], below) or _is_prose(text, named, found, below):
            continue
        quotes = re.match(r"\\*[\"']", found[0])
        quote = quotes[0] if quotes and found[0].endswith(quotes[0]) else ""
        shown += [text[done : found.start()], quote, REDACTED, quote]
        done = found.end()
    return "".join(shown) + text[done:]


def _is_harmless(value: str, below: _Below) -> bool:
    """What was taken out before, names how one logs in, or is no credential by its looks."""
    bare = value.strip("\\\"'")
    first = bare.split(" ")[0]
    no_value = bare.lower() in ("none", "null", "true", "false")
    is_harmless = no_value or first.lower() in _SCHEMES or not _is_secret(first, below)
    return REDACTED in value or is_harmless


def _is_prose(text: str, named: re.Match[str], found: re.Match[str], below: _Below) -> bool:
    """Whether a colon and a word of letters alone stand in a sentence: "What is the password: swordfish?"."""
    if ":" not in named[0] or not _LETTERS.fullmatch(found[0].rstrip(".?!")):
        return False
    is_behind_a_word = re.search(r"\w[ \t]$", text[max(named.start() - 2, 0) : named.start()]) is not None
    goes_on = re.match(r" [a-z]", text[found.end() : found.end() + 2]) is not None
    return is_behind_a_word or (goes_on and below is not _Below.ALL)
