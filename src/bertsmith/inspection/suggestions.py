"""What the page has to show before its reader writes something."""

from dataclasses import dataclass
from typing import Literal


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


START = "The children sat down on the bank of the river and watched the boats."

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
