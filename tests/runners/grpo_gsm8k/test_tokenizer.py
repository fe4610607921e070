"""Any text survives; known words, digits and tags are one token."""

from __future__ import annotations

import pytest

from runners.grpo_gsm8k.tokenizer import EOS, PAD, Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["Mia has 14 apples. Mia has 9 apples."] * 2, max_words=40)


@pytest.mark.parametrize(
    "text",
    [
        "Mia has 14 apples.",
        "",
        "  two  spaces\n\tand a tab ",
        "Größe: 3½ € – naïve café 你好 🍎",
        "<think>1+2=3</think><answer>3</answer>",
        "<think<answer></answer",
        "She sold 48/2 = <<48/2=24>>24 clips.\n#### 1,072",
    ],
)
def test_decode_gives_back_what_was_encoded(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_words_digits_and_tags_are_one_token_each(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("Mia has 14 apples.")) == 6
    assert len(tokenizer.encode("<think></think><answer>107</answer>")) == 7
    assert len(tokenizer.encode(" unheard")) == len(" unheard")


def test_decoding_stops_at_the_end_token_and_skips_padding(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Mia")
    assert tokenizer.decode([PAD, *ids, EOS, *ids]) == "Mia"


def test_the_vocabulary_depends_on_the_texts_alone() -> None:
    texts = ["b a", "a b", "c c", "once"]
    assert Tokenizer.train(texts, 40).words == Tokenizer.train(reversed(texts), 40).words
    assert "once" not in Tokenizer.train(texts, 40).words
