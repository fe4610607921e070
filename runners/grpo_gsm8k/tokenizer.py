"""Words that the training text uses often are one token; everything else is spelled in bytes.

Digits are always single tokens, so that a sum is done digit by digit, and the four tags are single tokens.
Any text survives `decode(encode(text))` unchanged: what is no known word falls back to its UTF-8 bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

PAD, BOS, EOS = 0, 1, 2
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_FIRST_BYTE = 3 + len(TAGS)
_FIRST_WORD = _FIRST_BYTE + 256
_TAG = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")
_PIECE = re.compile(r" ?[^\W\d_]+| ?\d|.", re.DOTALL)


class Tokenizer:
    """Ids: pad, bos, eos, the tags, 256 bytes, then `words` in the order given."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._id = {word: _FIRST_WORD + i for i, word in enumerate(self.words)}
        self._id |= {tag: 3 + i for i, tag in enumerate(TAGS)}
        self.vocab_size = _FIRST_WORD + len(self.words)

    @classmethod
    def train(cls, texts: Iterable[str], max_words: int) -> Tokenizer:
        """The `max_words` most frequent pieces of the texts (ties: alphabetical), and all digits."""
        digits = [space + str(d) for space in ("", " ") for d in range(10)]
        counts = Counter(piece for text in texts for piece in _PIECE.findall(text))
        often = sorted((w for w in counts if counts[w] > 1), key=lambda w: (-counts[w], w))
        return cls((digits + [w for w in often if w not in digits])[: max(max_words, len(digits))])

    def encode(self, text: str) -> list[int]:
        """Token ids of the text, without bos and eos."""
        ids: list[int] = []
        for part in _TAG.split(text):
            for piece in [part] if part in TAGS else _PIECE.findall(part):
                known = self._id.get(piece)
                ids += [_FIRST_BYTE + b for b in piece.encode()] if known is None else [known]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first eos; pad and bos are left out; bytes that are no UTF-8 become U+FFFD."""
        out = bytearray()
        for i in ids:
            if i == EOS:
                break
            if i >= _FIRST_WORD:
                out += self.words[i - _FIRST_WORD].encode()
            elif i >= _FIRST_BYTE:
                out.append(i - _FIRST_BYTE)
            elif i >= 3:
                out += TAGS[i - 3].encode()
        return out.decode("utf-8", errors="replace")
