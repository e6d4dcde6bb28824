"""Tagged sentences in tables."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from bertsmith.errors import InputError
from bertsmith.tasks.files.columns import read_tagged
from bertsmith.tasks.files.tagged import TagColumns

SENTENCES = [[("Paris", "B-LOC"), ("is", "O")], [("New York", "B-LOC")], [("Rome", "B-LOC")]]
LISTS = [{"tokens": [word for word, _ in one], "ner_tags": [tag for _, tag in one]} for one in SENTENCES]
WRITTEN = "".join(f'"{record["tokens"]}","{record["ner_tags"]}"\n' for record in LISTS)
SINGLE = [one for one in SENTENCES if one[0][0] != "New York"]
NUMBERED = {"tag_names": ("O", "B-LOC")}


def _pairs(path: Path, **columns: Any) -> list[list[tuple[str, str]]]:
    found = read_tagged(path, TagColumns(**columns), labelled=True)
    return [list(zip(sentence.words, sentence.tags or (), strict=True)) for sentence in found]


@pytest.mark.parametrize(
    ("name", "content", "columns", "expected"),
    [
        ("a.json", json.dumps(LISTS), {}, SENTENCES),
        ("a.json", json.dumps(LISTS, indent=1), {}, SENTENCES),
        ("a.jsonl", "".join(json.dumps(record) + "\n" for record in LISTS), {}, SENTENCES),
        ("a.csv", f"tokens,ner_tags\n{WRITTEN}", {}, SENTENCES),
        ("a.csv", "words,tags\nParis is,B-LOC O\nRome,B-LOC\n", {}, SINGLE),
        ("a.csv", "Sentence #,Word,POS,Tag\nSentence: 1,Paris,N,B-LOC\n,is,V,O\nSentence: 2,Rome,N,B-LOC\n", {}, SINGLE),
        ("a.csv", "sentence_id;token;label\n7;Paris;B-LOC\n7;is;O\n8;Rome;B-LOC\n", {}, SINGLE),
        (
            "a.csv",
            "n,w,t\n1,Paris,B-LOC\n1,is,O\n2,Rome,B-LOC\n",
            {"words_key": "w", "tags_key": "t", "sentence_key": "n"},
            SINGLE,
        ),
        ("a.csv", "word,tag\nParis,B-LOC\nis,O\n\nRome,B-LOC\n", {}, SINGLE),
        ("a.tsv", "token\tner\nParis\tB-LOC\nis\tO\n\nRome\tB-LOC\n", {}, SINGLE),
        ("a.csv", "word,tag\n[1],O\nis,O\n\n[2],O\n", {}, [[("[1]", "O"), ("is", "O")], [("[2]", "O")]]),
        ("a.csv", "word,tag\nParis,B-LOC\nis,O\n,\nRome,B-LOC\n", {}, SINGLE),
        ("a.csv", "sentence_id,words,tags\n1,Paris is,B-LOC O\n2,Rome,B-LOC\n", {}, SINGLE),
        ("a.json", '[{"words": "[\'Rome\']", "tags": "[\'B-LOC\']"}]', {}, [SENTENCES[2]]),
        ("a.csv", 'sentence,word_labels\nParis is,"B-LOC,O"\nRome,B-LOC\n', {}, SINGLE),
        ("a.csv", 'text,labels\nParis is,"B-LOC, O"\nRome,B-LOC\n', {}, SINGLE),
        ("a.csv", 'words,tags\n"Paris , is","NN , VBZ"\n', {}, [[("Paris", "NN"), (",", ","), ("is", "VBZ")]]),
        ("a.json", '[{"tokens": "Paris is", "tags": "B-LOC O"}, {"tokens": "Rome", "tags": "B-LOC"}]', {}, SINGLE),
        (
            "a.json",
            '[{"tokens": ["Paris", "is"], "ner_tags": [1, 0]}, {"tokens": ["Rome"], "ner_tags": [1]}]',
            NUMBERED,
            SINGLE,
        ),
        ("a.csv", "tokens,ner_tags\n\"['Paris', 'is']\",\"[1, 0]\"\n\"['Rome']\",[1]\n", NUMBERED, SINGLE),
        ("a.csv", "n,word,tag\n1,Paris,1\n1,is,0\n2,Rome,1\n", NUMBERED | {"sentence_key": "n"}, SINGLE),
        ("a.jsonl", '{"sentence": "Rome", "words": ["Rome"], "tags": ["B-LOC"]}\n', {}, [SENTENCES[2]]),
    ],
)
def test_rows_are_sentences_or_words(tmp_path, name, content, columns, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert _pairs(tmp_path / name, **columns) == expected


@pytest.mark.parametrize("of_words", [False, True])
def test_parquet(tmp_path, of_words):
    words = {"sentence": [1, 1, 2], "word": ["Paris", "is", "Rome"], "tag": ["B-LOC", "O", "B-LOC"]}
    rows = pyarrow.table(words) if of_words else pyarrow.Table.from_pylist(LISTS)
    pyarrow.parquet.write_table(rows, tmp_path / "a.parquet")
    assert _pairs(tmp_path / "a.parquet") == (SINGLE if of_words else SENTENCES)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_numbers_of_classes_have_the_names_that_the_file_has(tmp_path, name):
    kind = {"feature": {"names": ["O", "B-LOC"], "_type": "ClassLabel"}, "_type": "Sequence"}
    schema = pyarrow.schema(
        [("tokens", pyarrow.list_(pyarrow.string())), ("ner_tags", pyarrow.list_(pyarrow.int64()))],
        metadata={"huggingface": json.dumps({"info": {"features": {"ner_tags": kind, "tokens": {}}}})},
    )
    rows = [{"tokens": ["Paris", "is"], "ner_tags": [1, 0]}, {"tokens": ["Rome"], "ner_tags": [1]}]
    table = pyarrow.Table.from_pylist(rows, schema)
    if name == "a.parquet":
        pyarrow.parquet.write_table(table, tmp_path / name)
    else:
        with pyarrow.ipc.new_file(str(tmp_path / name), schema) as writer:
            writer.write_table(table)
    assert _pairs(tmp_path / name) == SINGLE
    if name == "a.parquet":
        pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": "[}"}), tmp_path / name)
        with pytest.raises(InputError, match=r"a.parquet:1: the tag 1 is the number of a class, .* with --tag-names"):
            _pairs(tmp_path / name)


def test_rows_without_tags_are_all_answered(tmp_path):
    (tmp_path / "a.csv").write_text("words\nParis is\n[]\nRome\n")
    found = [sentence.words for sentence in read_tagged(tmp_path / "a.csv", TagColumns(), labelled=False)]
    assert found == [("Paris", "is"), (), ("Rome",)]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("words,tags\na b,O\n", {}, "a.csv:2 has 2 words and 1 tags"),
        ("word,tag,sentence\na,,1\n", {}, "a.csv:2: the tag of 'a' is missing"),
        (
            "a,b\nc,d\n",
            {},
            "a.csv has no column 'words'; its columns are 'a', 'b'; choose one with --words-key",
        ),
        ("id,word,tag\n1,a,O\n1,b,O\n2,c,O\n", {}, "a.csv: a row holds one word, .* with --sentence-key, or put an empty row"),
        ("words,tags\na,O\n", {"sentence_key": "n"}, "a.csv has no column 'n'; .*--sentence-key"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path, content, columns, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        _pairs(tmp_path / "a.csv", **columns)
