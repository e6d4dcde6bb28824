import pytest

from bertsmith.artifacts.languages import language_of

SENTENCES = {
    "en": "The cat sat on the mat, and it was not the first time that the dog had been there with his friends.",
    "zh": "这是一个关于人工智能的句子, 我们用它来测试 BERT 模型的语言。",
    "German": "Der Hund ist in der Stadt und die Katze war nicht da, als es zu regnen begann.",
    "French": "Le chat est sur la table et il n'a pas mangé, mais la fille de la maison le sait.",
    "Japanese": "私は学校に行きました。それは日本語の文章です。",
    "code": "x = f(y) for z in range(10): return self.value",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_english_and_chinese_are_known_and_no_other(name: str) -> None:
    assert language_of([SENTENCES[name]] * 20) == (name if len(name) == 2 else None)


def test_too_little_text_is_none() -> None:
    assert language_of(["the cat"]) is None
    assert language_of([]) is None
