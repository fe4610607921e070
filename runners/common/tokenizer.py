"""Words that the training text uses often are one token; everything else is spelled in bytes.

Digits are always single tokens, so that a sum is done digit by digit, and so are the tags that a runner
names: its own marks, `<think>` or `<a_12>`. Any text survives `decode(encode(text))` unchanged: what is no
known word falls back to its UTF-8 bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

PAD, BOS, EOS = 0, 1, 2
_FIRST_TAG = 3
_PIECE = re.compile(r" ?[^\W\d_]+| ?\d|.", re.DOTALL)


class Tokenizer:
    """Ids: pad, bos, eos, the tags, 256 bytes, `words` in the order given, then what `extended` adds.

    Example:
        >>> tokenizer = Tokenizer.train(["as it is, as it was"], max_words=100).extended(["<a_1>", "<b_1>"])
        >>> ids = tokenizer.encode("<a_1><b_1> it is")
        >>> [tokenizer.decode([i]) for i in ids]
        ['<a_1>', '<b_1>', ' it', ' ', 'i', 's']
        >>> ids[0] == tokenizer.vocab_size - 2
        True
    """

    def __init__(self, words: Sequence[str], tags: Sequence[str] = (), added: Sequence[str] = ()) -> None:
        self.words, self.tags, self.added = tuple(words), tuple(tags), tuple(added)
        self._first_byte = _FIRST_TAG + len(self.tags)
        self._first_word = self._first_byte + 256
        self.first_added = self._first_word + len(self.words)
        self.vocab_size = self.first_added + len(self.added)
        marks = self.tags + self.added
        self._marks = frozenset(marks)
        self._split = re.compile("(" + "|".join(map(re.escape, marks)) + ")") if marks else None
        self._id = {word: self._first_word + i for i, word in enumerate(self.words)}
        self._id |= {tag: _FIRST_TAG + i for i, tag in enumerate(self.tags)}
        self._id |= {token: self.first_added + i for i, token in enumerate(self.added)}

    @classmethod
    def train(cls, texts: Iterable[str], max_words: int, tags: Sequence[str] = ()) -> Tokenizer:
        """The `max_words` most frequent pieces of the texts (ties: alphabetical), and all digits."""
        digits = [space + str(d) for space in ("", " ") for d in range(10)]
        counts = Counter(piece for text in texts for piece in _PIECE.findall(text))
        often = sorted((w for w in counts if counts[w] > 1), key=lambda w: (-counts[w], w))
        words = (digits + [w for w in often if w not in digits])[: max(max_words, len(digits))]
        return cls(words, tags)

    def extended(self, tokens: Sequence[str]) -> Tokenizer:
        """The same vocabulary with these tokens behind it, one id each: what is known keeps its id."""
        return Tokenizer(self.words, self.tags, (*self.added, *tokens))

    def id_of(self, token: str) -> int | None:
        """The id of one word, tag or added token; None if it is none of them."""
        return self._id.get(token)

    def encode(self, text: str) -> list[int]:
        """Token ids of the text, without bos and eos."""
        ids: list[int] = []
        for part in self._split.split(text) if self._split else [text]:
            for piece in [part] if part in self._marks else _PIECE.findall(part):
                known = self._id.get(piece)
                ids += [self._first_byte + b for b in piece.encode()] if known is None else [known]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first eos; pad and bos are left out; bytes that are no UTF-8 become U+FFFD."""
        out = bytearray()
        for i in ids:
            if i == EOS:
                break
            if i >= self.first_added:
                out += self.added[i - self.first_added].encode()
            elif i >= self._first_word:
                out += self.words[i - self._first_word].encode()
            elif i >= self._first_byte:
                out.append(i - self._first_byte)
            elif i >= _FIRST_TAG:
                out += self.tags[i - _FIRST_TAG].encode()
        return out.decode("utf-8", errors="replace")
