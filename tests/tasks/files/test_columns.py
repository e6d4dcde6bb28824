"""Files of tagged words are read whole, and what is wrong with one is said with its line."""

import gzip
import io
import lzma
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from bertsmith.errors import ConfigError, InputError, UsageError
from bertsmith.tasks.files.columns import looks_like_text, read_tagged
from bertsmith.tasks.files.tagged import TagColumns, TaggedSentence

REAL = Path(__file__).parents[4] / "shared" / "data" / "tasks"
CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER


-DOCSTART- -X- -X- O

LONDON NNP B-NP B-LOC
"""
CONLLU = """\
# newdoc id = one
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t_\t_\t_\t_
2\tn't\tnot\tPART\tRB\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
3.1\tgone\t_\t_\t_\t_\t_\t_\t_\t_

# text = 10 000
1\t10 000\t10000\tNUM\tCD\t_\t_\t_\t_\t_
"""


def _read(
    tmp_path: Path,
    text: str | bytes,
    name: str = "a.txt",
    labelled: bool = True,
    file_format: str | None = None,
    **columns: Any,
) -> list[TaggedSentence]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_tagged(path, TagColumns(**columns), labelled=labelled, format=file_format))


def _pairs(sentences: list[TaggedSentence]) -> list[list[tuple[str, str]]]:
    return [list(zip(sentence.words, sentence.tags or (), strict=True)) for sentence in sentences]


def test_conll_columns(tmp_path):
    sentences = _read(tmp_path, CONLL)
    assert sentences == [
        TaggedSentence(("EU", "rejects"), ("B-ORG", "O"), f"{tmp_path}/a.txt:3", 1),
        TaggedSentence(("Peter",), ("B-PER",), f"{tmp_path}/a.txt:6", 1),
        TaggedSentence(("LONDON",), ("B-LOC",), f"{tmp_path}/a.txt:11", 2),
    ]
    assert _read(tmp_path, CONLL, tag_column=2, word_column=4)[0].tags == ("NNP", "VBZ")
    assert _read(tmp_path, CONLL, tag_column=2, word_column=4)[0].words == ("B-ORG", "O")


@pytest.mark.parametrize("suffix", [".bio", ".testa", ".train.gz", ".tsv.xz", ".zst"])
def test_any_other_extension_is_columns_and_may_be_compressed(tmp_path, suffix):
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": lambda data: pyarrow.compress(data, "zstd", asbytes=True)}
    data = pack.get(Path(f"a{suffix}").suffix, bytes)(CONLL.encode())
    assert [len(sentence.words) for sentence in _read(tmp_path, data, f"a{suffix}")] == [2, 1, 1]


@pytest.mark.parametrize(
    "text", ["\ufeff北 B\n京 I\n\n。 O", "北\tB\r\n京\tI\r\n \r\n。\tO\r\n", "北\t\tB \n京\tI\t\n\t\n。\tO\n\n\n"]
)
def test_byte_order_marks_line_ends_and_blanks_at_the_end_do_not_matter(tmp_path, text):
    assert _pairs(_read(tmp_path, text)) == [[("北", "B"), ("京", "I")], [("。", "O")]]


def test_words_that_are_odd_white_space_keep_their_places(tmp_path):
    odd = ["\u3000", "\xa0", "\u2028", "\x85", "\x1c", "\x0c", "\u200b", "\ufeff"]
    text = "x O\n" + "".join(f"{word} B-{number}\n" for number, word in enumerate(odd))
    assert _pairs(_read(tmp_path, text)) == [[("x", "O"), *((word, f"B-{number}") for number, word in enumerate(odd))]]
    assert _read(tmp_path, "x\n\u3000\ny\n", labelled=False)[0].words == ("x", "\u3000", "y")


def test_words_that_are_blanks_keep_their_places(tmp_path):
    assert _pairs(_read(tmp_path, "x O\n  B\ny I\n")) == [[("x", "O"), (" ", "B"), ("y", "I")]]
    assert _pairs(_read(tmp_path, "x\tO\n \tB\n\tI\n")) == [[("x", "O"), (" ", "B"), ("\t", "I")]]
    assert _pairs(_read(tmp_path, "  x O\n  y B\n")) == [[("x", "O"), ("y", "B")]]
    assert _pairs(_read(tmp_path, "10 000\tB\n")) == [[("10 000", "B")]]


def test_unlabelled_columns_need_no_tags(tmp_path):
    assert _read(tmp_path, "a\nb\n\nc\n", labelled=False) == [
        TaggedSentence(("a", "b"), None, f"{tmp_path}/a.txt:1"),
        TaggedSentence(("c",), None, f"{tmp_path}/a.txt:4"),
    ]
    assert _read(tmp_path, CONLL, labelled=False, tag_column=9)[0].words == ("EU", "rejects")


def test_conllu(tmp_path):
    sentences = _read(tmp_path, CONLLU, "a.conllu")
    assert _pairs(sentences) == [[("Do", "AUX"), ("n't", "PART"), ("go", "VERB")], [("10 000", "NUM")]]
    assert [sentence.source for sentence in sentences] == [f"{tmp_path}/a.conllu:4", f"{tmp_path}/a.conllu:10"]
    assert _read(tmp_path, gzip.compress(CONLLU.encode()), "a.conllu.gz", tag_column=5)[0].tags == ("VB", "RB", "VB")
    assert _read(tmp_path, CONLLU, "a.conllu", labelled=False)[0].tags is None


@pytest.mark.parametrize(
    ("words", "tags", "columns"),
    [
        ("words", "tags", {}),
        ("tokens", "ner_tags", {}),
        ("tokens", "labels", {}),
        ("w", "t", {"words_key": "w", "tags_key": "t"}),
    ],
)
def test_json_lines(tmp_path, words, tags, columns):
    text = (
        f'{{"{words}": ["a", "\\u5317"], "{tags}": ["O", "B-X"]}}\n\n'
        f'{{"{words}": [], "{tags}": []}}\n'
        f'{{"{words}": ["b"], "{tags}": ["O"]}}'
    )
    assert _read(tmp_path, text, "a.jsonl", **columns) == [
        TaggedSentence(("a", "北"), ("O", "B-X"), f"{tmp_path}/a.jsonl:1"),
        TaggedSentence(("b",), ("O",), f"{tmp_path}/a.jsonl:4"),
    ]


def test_json_lines_without_words_are_answered_too(tmp_path):
    text = '{"words": []}\n\n{"words": ["a"]}\n{"words": []}\n'
    found = _read(tmp_path, text, "a.jsonl", labelled=False)
    assert [(sentence.words, sentence.source[-1]) for sentence in found] == [((), "1"), (("a",), "3"), ((), "4")]


def test_plain_text_is_not_taken_for_columns(tmp_path):
    text = "Ann went to Rome today\nBob was there a while\n"
    message = (
        r"a\.txt:2 looks like plain text, not like columns: 'Ann went to Rome today'; say --format text, or .*--word-column"
    )
    with pytest.raises(InputError, match=message):
        _read(tmp_path, "\n" + text, labelled=False)
    assert _read(tmp_path, text, labelled=False, word_column=4)[0].words == ("Rome", "a")
    assert _read(tmp_path, text.replace(" ", "\t"), labelled=False)[0].words == ("Ann", "Bob")
    assert _read(tmp_path, text)[0].tags == ("today", "while")


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa O\r\nb O\r\n")))
    first = next(read_tagged("-", TagColumns(), labelled=False))
    assert (first.words, first.source) == (("a", "b"), "standard input:1")


def test_standard_input_that_is_not_utf8(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a O\n\xff O\n")))
    with pytest.raises(InputError, match="standard input:2: invalid UTF-8"):
        list(read_tagged("-", TagColumns(), labelled=True))


@pytest.mark.parametrize(
    ("text", "name", "columns", "message"),
    [
        ("a O\nb\n", "a.txt", {}, r"a.txt:2: the number of columns is 1 but 2 in line 1: 'b'"),
        ("\na O\nb c O\n", "a.txt", {}, r"a.txt:3: the number of columns is 3 but 2 in line 2"),
        (
            "// two words\nb O\n",
            "a.txt",
            {},
            r"a.txt:2: .* but 3 in line 1: 'b O' and '// two words'; correct the one that is wrong",
        ),
        ("a\nb\n", "a.txt", {}, r"a.txt:1: words and tags cannot both be column 1 of 1; a tag must follow"),
        ("a O\n", "a.txt", {"tag_column": 3}, r"a.txt:1: there is no column 3, only 2; .*choose another --tag-column"),
        ("a O\n", "a.txt", {"word_column": 4}, r"a.txt:1: there is no column 4, only 2; .*choose another --word-column"),
        ("a O\n", "a.txt", {"tag_column": 1}, r"a.txt:1: words and tags cannot both be column 1 of 2"),
        ("", "a.txt", {}, r"a.txt holds no sentence"),
        ("-DOCSTART- O\n\n", "a.txt", {}, r"a.txt holds no sentence"),
        ('{"words": ["a"], "tags": ["O"]}', "a.txt", {}, r"a.txt:1 is JSON.*--format json"),
        ('[{"words": ["a"], "tags": ["O"]}]', "a.txt", {}, r"a.txt:1 is JSON.*--format json"),
        ("a\0b O\n", "a.txt", {}, r"a.txt is not text"),
        (b"\xff O\n", "a.txt", {}, r"a.txt:1: invalid UTF-8 at byte 0 of the line \(0xff\); give its --encoding, or convert"),
        ("1\tDo\tdo\n", "a.conllu", {}, r"a.conllu:1: there is no column 4, only 3"),
        ("1\tDo\tdo\t_\tVB\n", "a.conllu", {}, r"a.conllu:1: the tag of 'Do' is missing"),
        ("Do AUX\n", "a.conllu", {}, r"a.conllu:1: 'Do AUX' is no row of CoNLL-U.*--format columns"),
        ("# nothing\n", "a.conllu", {}, r"a.conllu holds no sentence"),
        ('{"words": ["a"], "tags": ["O", "O"]}', "a.json", {}, r"a.json:1 has 1 words and 2 tags"),
        ('{"words": ["a"], "tags": [""]}', "a.json", {}, r"a.json:1: the tag of word 1, 'a', is missing"),
        ('{"words": ["a"], "tags": [3]}', "a.json", {}, r"a.json:1: the tag 3 is the number of a class, .* with --tag-names"),
        ('{"words": 7, "tags": ["O"]}', "a.json", {}, r"a.json:1: the column 'words' holds 7 where a list of texts"),
        (
            '{"words": ["a"], "tags": [2]}',
            "a.json",
            {"tag_names": ("O", "B")},
            r"a.json:1: the tag 2 is none of the 2 that --tag-n",
        ),
        ('{"words": ["a"], "tags": [-100]}', "a.json", {"tag_names": ("O", "B")}, r"the tag -100 .*: such pieces of words"),
        ('{"words": ["a"]}', "a.json", {}, r"a.json has no column 'tags'; its columns are 'words'; .*--tags-key"),
        ('{"words": [], "tags": []}', "a.json", {"words_key": "tokens"}, r"a.json has no column 'tokens'"),
        ("{\n", "a.json", {}, r"a.json:1 is not valid JSON"),
        ("[1]\n", "a.json", {}, r"a.json:1 holds 1 where a JSON object is expected"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path, text, name, columns, message):
    with pytest.raises(InputError, match=message):
        _read(tmp_path, text, name, **columns)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt does not exist; check its name"):
        list(read_tagged(tmp_path / "none.txt", TagColumns(), labelled=True))


def test_formats_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown format 'ods'; choose one of columns, conllu, json, csv, tsv"):
        _read(tmp_path, "a O\n", file_format="ods")
    with pytest.raises(ConfigError, match="tag_column"):
        TagColumns.from_values({"tag_column": 0}, "test")


def test_brackets_and_braces_are_words_too(tmp_path):
    assert _read(tmp_path, "[\n[1]\n{}\n", labelled=False)[0].words == ("[", "[1]", "{}")


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real data beside the project is absent")
@pytest.mark.parametrize(
    ("file", "n_sentences", "n_words", "n_tags"),
    [
        ("conll2003/eng.testa", 3250, 51362, 6),
        ("conll2003/eng.testb", 3453, 46435, 8),
        ("conll2003/eng.train.gz", 14041, 203621, 8),
        ("peopledaily_ner/dev.txt", 4631, 172601, 7),
        ("peopledaily_ner/train.txt.gz", 50658, 2169879, 7),
        ("ud_ewt/en_ewt-ud-train.conllu.gz", 12544, None, 17),
        ("ud_ewt/en_ewt-ud-dev.conllu.gz", 2001, None, 17),
        ("ud_ewt/en_ewt-ud-test.conllu.gz", 2077, None, 17),
    ],
)
def test_real_files_are_read_whole(file, n_sentences, n_words, n_tags):
    sentences = list(read_tagged(REAL / file, TagColumns(), labelled=True))
    assert len(sentences) == n_sentences
    assert n_words is None or sum(len(sentence.words) for sentence in sentences) == n_words
    assert len({tag for sentence in sentences for tag in sentence.tags or ()}) == n_tags
    assert all(len(sentence.words) == len(sentence.tags or ()) for sentence in sentences)


@pytest.mark.parametrize(
    "text",
    [
        "# id 1 domain=en\nParis _ _ B-LOC\nis _ _ O\n\n# id 2\nRome _ _ B-LOC\n",
        "# id 5f1\tdomain=en\nParis _ _ B-LOC\nis _ _ O\n\n# id 2\tdomain=en\nRome _ _ B-LOC\n",
        "# a comment\n# and another one here\n\nParis\tB-LOC\nis\tO\n\n# text = Rome\nRome\tB-LOC\n\n# the end\n",
        "# 1\nParis B-LOC\nis O\n\n# 2\nRome B-LOC\n",
        "#sent 1\nParis B-LOC\nis O\n\n#sent 2\nRome B-LOC\n",
        "# id abc\nParis _ B-LOC\nis _ O\n\n# text: x\nRome _ B-LOC\n",
        "-DOCSTART- O\n\n# sent_id = 1\nParis B-LOC\nis O\n\n# sent_id = 2\nRome B-LOC",
    ],
)
def test_comments_before_sentences_are_left_out(tmp_path, text):
    assert [sentence.words for sentence in _read(tmp_path, text)] == [("Paris", "is"), ("Rome",)]


def test_number_signs_are_words_where_they_have_tags(tmp_path):
    assert _pairs(_read(tmp_path, "# O\n#tag B-X\n\na O\n# O\n")) == [[("#", "O"), ("#tag", "B-X")], [("a", "O"), ("#", "O")]]
    assert _pairs(_read(tmp_path, "#source O\na B\n\n#7 O\n#id B\n")) == [
        [("#source", "O"), ("a", "B")],
        [("#7", "O"), ("#id", "B")],
    ]
    assert _pairs(_read(tmp_path, "# 0\na 1\n")) == [[("#", "0"), ("a", "1")]]
    assert [one.words for one in _read(tmp_path, "#a\nb\n\n#\nc\n", labelled=False)] == [("#a", "b"), ("#", "c")]


@pytest.mark.parametrize(
    ("text", "tags", "is_text"),
    [
        ("Paris is nice\nRome is too\n", {"O", "B-LOC"}, True),
        ("Paris is nice\nRome\n", {"O"}, True),
        ("\nParis is nice\n\nRome is too\n\n", {"O"}, True),
        ("Paris NNP\n\nRome NNP\nis VBZ\n", {"O"}, False),
        ("Paris B-LOC\nis O\n", {"O", "B-LOC"}, False),
        ("Paris NNP\nis VBZ\n\nRome NNP\n", {"O"}, False),  # a blank line between sentences
        ("Paris\nRome\n", {"O"}, False),
        ("Paris\tNNP\nis\tVBZ\n", {"O"}, False),
        ("", {"O"}, False),
    ],
)
def test_short_text_is_told_from_columns(tmp_path, text, tags, is_text):
    (tmp_path / "a.txt").write_text(text)
    assert looks_like_text(tmp_path / "a.txt", tags) is is_text


@pytest.mark.parametrize(
    ("text", "by_characters", "is_text"),
    [
        ("巴黎很美\n罗马也是\n", True, True),
        ("巴黎很美\n\n我爱 Python\n", True, True),
        ("巴黎很美。\n罗马也是！\n", False, True),
        ("巴黎\n很\n美丽\n。\n", False, False),
        ("巴\n黎\n\n。\nParis\n", True, False),
        ("Paris\nis\n.\n", True, False),
    ],
)
def test_text_without_blanks_is_told_from_a_column_of_words(tmp_path, text, by_characters, is_text):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert looks_like_text(tmp_path / "a.txt", {"O"}, by_characters=by_characters) is is_text


def test_a_tsv_file_is_a_table_where_its_first_line_names_the_columns(tmp_path):
    assert _pairs(_read(tmp_path, "Token\tNER\tsentence\nParis\tB-LOC\t1\nis\tO\t1\nRome\tB-LOC\t2\n", "a.tsv")) == [
        [("Paris", "B-LOC"), ("is", "O")],
        [("Rome", "B-LOC")],
    ]
    assert _pairs(_read(tmp_path, "Paris\tB-LOC\nlabel\tO\n", "a.tsv")) == [[("Paris", "B-LOC"), ("label", "O")]]


def test_an_archive_is_no_file_of_columns(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    with pytest.raises(InputError, match=r"a\.ods"):
        list(read_tagged(tmp_path / "a.ods", TagColumns(), labelled=False))


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("token tag", "a O\nb B\n", [("a", "O"), ("b", "B")]),
        ("word\tlabel", "a\tO\nb\tB\n", [("a", "O"), ("b", "B")]),
        ("# id = 1\nToken NER POS", "a O DT\nb B NN\n", [("a", "O"), ("b", "B")]),
        ("pos token", "DT a\nNN b\n", [("a", "DT"), ("b", "NN")]),
    ],
)
def test_a_first_line_that_names_the_columns_is_no_word(tmp_path, caplog, header, rows, expected):
    assert _pairs(_read(tmp_path, f"{header}\n{rows}")) == [expected]
    assert "names the columns, and is no word" in caplog.text
    caplog.clear()
    assert _pairs(_read(tmp_path, f"token B\n{rows.splitlines()[0]}\n".replace(" DT", "").replace("\t", " "))) != []
    assert not caplog.records


def test_numbers_of_classes_in_columns_have_their_names(tmp_path):
    assert _pairs(_read(tmp_path, "a 0\nb 1\n", tag_names=("O", "B"))) == [[("a", "O"), ("b", "B")]]
    assert _pairs(_read(tmp_path, "a 0\nb 1\n")) == [[("a", "0"), ("b", "1")]]
