"""What the page has to show before its reader writes something."""

from dataclasses import dataclass
from typing import Literal

from bertsmith.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class WordExample:
    """A word in texts in which it means now this, now that; ``senses`` names what in each."""

    word: str
    texts: list[str]
    senses: list[str]
    language: Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Words in context, and sentences to find neighbours in and to compare models over."""

    context: list[WordExample]
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class Start:
    """The text or pair to begin with, and choices for a model that takes them."""

    text: str
    pair: str | None
    choices: tuple[str, ...] = ()


# By what a model reads (:attr:`bertsmith.tasks.task.Task.reads_examples_of`, "pair" for next sentences), by language.
_STARTS: dict[str, dict[str, Start]] = {
    "text": {
        "en": Start("The children sat down on the bank of the river and watched the boats.", None),
        "zh": Start("孩子们坐在河边看船，天色渐渐暗了下来。", None),
    },
    "pair": {
        "en": Start("The children sat down on the bank of the river.", "They watched the boats until it grew dark."),
        "zh": Start("孩子们坐在河边看船。", "天色渐渐暗了下来，他们才回家。"),
    },
    "question": {
        "en": Start(
            "Where did the children sit down?", "The children sat down on the bank of the river and watched the boats."
        ),
        "zh": Start("孩子们坐在哪里？", "放学以后，孩子们坐在河边看船，天色渐渐暗了下来。"),
    },
    "query": {
        "en": Start("boats on the river", "The children sat down on the bank of the river and watched the boats."),
        "zh": Start("河上的船", "放学以后，孩子们坐在河边看船，天色渐渐暗了下来。"),
    },
    "choices": {
        "en": Start("It began to rain, so she", None, ("opened her umbrella.", "watered the flowers.", "sang to the stones.")),
        "zh": Start("天下起雨来，所以她", None, ("撑开了伞。", "给花浇了水。", "对着石头唱歌。")),
    },
}
_MOST_UNKNOWN = 0.3
_OWN_WORDS = 10


def start_for(tokenizer: Tokenizer, reads: str) -> Start:
    """Return what a page begins with: an example in the language that the vocabulary knows best, or else of its own words."""
    starts = _STARTS[reads]
    shares = {language: _unknown_share(tokenizer, start) for language, start in starts.items()}
    best = min(shares, key=lambda language: shares[language])
    if shares[best] <= _MOST_UNKNOWN:
        return starts[best]
    words = own_words(tokenizer)
    half = len(words) // 2
    match reads:
        case "text":
            return Start(" ".join(words), None)
        case "choices":
            return Start(" ".join(words[:half]), None, tuple(words[half:]))
    return Start(" ".join(words[:half]), " ".join(words[half:]))


def _unknown_share(tokenizer: Tokenizer, start: Start) -> float:
    texts = [start.text, *([start.pair] if start.pair else []), *start.choices]
    ids = [token_id for found in tokenizer.token_ids(texts) for token_id in found]
    return ids.count(tokenizer.unk_id) / max(len(ids), 1)


def own_words(tokenizer: Tokenizer) -> list[str]:
    """Return some words of the vocabulary, evenly chosen, that the tokenizer reads as what they are."""
    special, there_are = tokenizer.special_ids, enumerate(tokenizer.tokens)
    candidates = [token for token_id, token in there_are if token_id not in special and token and not token.startswith("##")]
    words = [
        token for token, ids in zip(candidates, tokenizer.token_ids(candidates), strict=True) if ids == [tokenizer.id(token)]
    ]
    step = max(1, len(words) // _OWN_WORDS)
    return words[step - 1 :: step][:_OWN_WORDS] or ["?"]


SUGGESTIONS = Suggestions(
    context=[
        WordExample(
            word="bank",
            texts=[
                "They walked along the bank of the river until it grew dark.",
                "The fishermen pulled their boat up on the muddy bank.",
                "She opened an account at the bank to save some money.",
                "The bank refused to lend him money for a new house.",
            ],
            senses=["river", "river", "money", "money"],
            language="en",
        ),
        WordExample(
            word="苹果",
            texts=[
                "他洗了一个苹果，切开给孩子吃。",
                "这棵树上的苹果又红又甜。",
                "苹果公司昨天发布了新手机。",
                "苹果的股价今年上涨了一成。",
            ],
            senses=["水果", "水果", "公司", "公司"],
            language="zh",
        ),
    ],
    sentences=[
        "The boat drifted slowly down the river.",
        "He paid the money into his account.",
        "A cat was asleep on the warm window sill.",
        "The teacher asked the children to sit down.",
        "She bought bread and apples at the market.",
        "The company sold its shares last year.",
        "Heavy rain fell all night over the old town.",
        "They watched the stars from the top of the hill.",
        "The doctor read the letter and said nothing.",
        "Music could be heard through the open door.",
        "他把钱存进了银行。",
        "孩子们坐在河边看船。",
        "昨天晚上下了一场大雨。",
        "老师在黑板上写了几个字。",
    ],
)
