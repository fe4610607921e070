"""Of which kind a stage is, by its category or its name, and which kinds are goodput."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

OTHER = "other"
STEP = (
    "step"  #: category of the spans that ``run.steps`` makes, and what a stage around all of them is called
)

_COLLECTIVES = r"all ?(gather|reduce)|reduce ?scatter|all ?to ?all|psum"
#: Of which kind a stage is, by the last part of its name of which words match, ``log prob`` for ``log_prob``:
#: first come those that say most.
KINDS: tuple[tuple[str, str], ...] = (
    ("waiting", r"a?wait(s|ed|ing)?|barrier|idle|bubble|starv\w*|blocked|stall(s|ed)?"),
    ("training", rf"fwd|bwd|fwd ?bwd|grads?|gradients?|{_COLLECTIVES}"),
    ("weights", r"weights?|sync\w*|publish\w*|pull\w*|broadcast\w*|releas\w*|refit\w*"),
    ("evaluation", r"eval|evals|evaluat\w*|val|valid|validat\w*|tests?|testing|benchmark\w*"),
    ("checkpoint", r"checkpoint\w*|ckpt|sav(e|es|ing)|restor\w*|recover\w*"),
    ("reward", r"rewards?|verif\w*|judg\w*|scor(e|es|ing)|graders?|grading"),
    (
        "rollouts",
        r"rollout(s|er)?|generat\w*|gen|sampl\w*|decod\w*|prefill\w*|flush|completions?|experiences?|episodes?"
        r"|trajector(y|ies)|envs?|environments?|tools?|toolcalls?|agents?",
    ),
    (
        "data",
        r"data\w*|batch\w*|load|loads|loading|loader|shard\w*|tokeni[sz]\w*|(pre)?fetch\w*|collat\w*"
        r"|preprocess\w*|device put",
    ),
    (
        "training",
        r"train\w*|updat\w*|learn(s|er|ing)?|forward|backward|optim\w*|loss|losses|adv|advantages?|gae"
        r"|values?|reference|ref|log ?ps?|log ?probs?|entrop(y|ies)|actor|critic|policy|teacher"
        r"|ppo|grpo|rloo|dpo|sft",
    ),
    ("rollouts", r"inference|infer|vllm|sglang"),  # unless it is of log probabilities or values
)
_PATTERNS = tuple((kind, re.compile(rf"\b({pattern})\b")) for kind, pattern in KINDS)
_NAMES = frozenset(kind for kind, _ in KINDS)
_WORDS = re.compile(r"v?LLM|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NO_TRAINING = (OTHER, "evaluation", "checkpoint", "waiting")
_MATTERS = 0.1  # of the wall time: with so much in stages of no kind, goodput says little
_SHOWN = 3


def goodput(kinds: Mapping[str, float]) -> float:
    """Of shares by kind those that are training: all but evaluation, checkpoints, waiting and ``other``."""
    return sum(share for kind, share in kinds.items() if kind not in _NO_TRAINING)


@lru_cache(10_000)
def kind_of(name: str, category: str = "") -> str:
    """Of which kind a stage is.

    A category that is a kind decides; else the last part of the name that says something.

    Example:
        >>> [kind_of(name) for name in ("train/rollout_sync", "train/fwd_bwd", "train/step", "rollout_wait")]
        ['weights', 'training', 'other', 'waiting']
    """
    if category in _NAMES:
        return category
    parts = name.split("/")
    if parts[0].lower().startswith("eval"):  # whatever it does
        return "evaluation"
    for part in reversed(parts):
        if part == STEP:  # around all of them: what is in no stage
            break
        words = _words(part)
        for kind, pattern in _PATTERNS:
            if pattern.search(words):
                return kind
    return OTHER


def waited_for(name: str) -> str:
    """Of which kind is what a stage of waiting waits for, by the rest of its name.

    Example:
        >>> [waited_for(name) for name in ("train/wait_rollouts", "weights_wait", "idle")]
        ['rollouts', 'weights', 'other']
    """
    (_, waiting), *_ = _PATTERNS
    return kind_of("/".join(waiting.sub(" ", _words(part)) for part in name.split("/")))


def is_unknown(name: str, category: str = "") -> bool:
    """Whether a stage is of no kind, and not one around all others.

    Example:
        >>> is_unknown("rl/xyz"), is_unknown("rl/step"), is_unknown("rl/update")
        (True, False, False)
    """
    return kind_of(name, category) == OTHER and name.split("/")[-1] != STEP


def of_no_kind(shares: Mapping[str, float]) -> str:
    """What is to be said beside goodput where stages of no kind take much; empty where they do not.

    Args:
        shares: of the wall time, of stages that are of no kind.

    Example:
        >>> of_no_kind({"xyz": 0.8, "abc": 0.05})
        '85 % is in stages of no known kind (xyz, abc)'
        >>> of_no_kind({"xyz": 0.01})
        ''
    """
    whole = sum(shares.values())
    if whole < _MATTERS:
        return ""
    names = sorted(shares, key=lambda name: -shares[name])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{whole * 100:.0f} % is in stages of no known kind ({', '.join(names[:_SHOWN])}{more})"


def _words(part: str) -> str:
    return " ".join(word.lower() for word in _WORDS.findall(part))
