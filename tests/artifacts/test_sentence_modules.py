"""Directories of sentence-transformers: what is read of their files, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.artifacts.directory import save_model
from bertsmith.artifacts.sentence_modules import read_sentence_modules, write_sentence_modules
from bertsmith.errors import ArtifactError, BertsmithError, DamagedError, MismatchError
from bertsmith.inference.pipelines import VectorPipeline, pipeline
from bertsmith.model.bert import Heads
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.text.tokenizer import Tokenizer

OLD = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
NEW_TYPES = [
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "sentence_transformers.base.modules.normalize.Normalize",
]
NEW = [{**module, "type": name} for module, name in zip(OLD, NEW_TYPES, strict=True)]
MEAN = {"word_embedding_dimension": 24, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}

Directory = Callable[..., Path]


@pytest.fixture
def directory(random_model: Callable[..., Any], tiny_tokenizer: Tokenizer, tmp_path: Path) -> Directory:
    """A model directory of sentence-transformers; keyword arguments are contents of its files, None for none."""

    def make(modules: Any = OLD, pooling: Any = MEAN, **files: Any) -> Path:
        path = tmp_path / "model"
        save_model(random_model(Heads()), tiny_tokenizer, path)
        (path / "manifest.json").unlink()
        contents = {"modules": modules, "1_Pooling/config": pooling, **files}
        for name, value in contents.items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return make


def test_the_layout_before_version_6(directory: Directory) -> None:
    path = directory(sentence_bert_config={"max_seq_length": 20, "do_lower_case": False})
    assert read_sentence_modules(path) == (SentenceVectors("mean", normalised=True), 20)
    pipe = pipeline(path)
    assert isinstance(pipe, VectorPipeline)
    assert (pipe.max_length, (pipe(["abc"]) ** 2).sum()) == (20, pytest.approx(1, abs=1e-6))


def test_the_layout_of_version_6(directory: Directory) -> None:
    path = directory(
        NEW[:2],
        {"embedding_dimension": 24, "pooling_mode": "max", "include_prompt": True},
        sentence_bert_config={
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
        },
        tokenizer_config={"do_lower_case": True, "model_max_length": 12},
        config_sentence_transformers={"prompts": {"query": "", "document": ""}, "default_prompt_name": None},
    )
    assert read_sentence_modules(path) == (SentenceVectors("max"), 12)


def test_no_length_is_the_positions_of_the_model(directory: Directory) -> None:
    path = directory(tokenizer_config={"do_lower_case": True, "model_max_length": 1e30})
    assert read_sentence_modules(path)[1] == 32


def test_a_directory_that_says_nothing_has_the_mean(directory: Directory) -> None:
    path = directory()
    (path / "modules.json").unlink()
    assert read_sentence_modules(path) == (SentenceVectors("mean"), None)


DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
THEIR_OWN = {**OLD[1], "type": "os.system"}


@pytest.mark.parametrize(
    ("contents", "error", "message"),
    [
        ({"modules": [*OLD[:2], DENSE]}, ArtifactError, r"modules\.json names .*models\.Dense; bertsmith computes"),
        ({"modules": [OLD[0], THEIR_OWN]}, ArtifactError, r"os\.system; bertsmith computes a Transformer and a Pooling"),
        ({"modules": OLD[:1]}, ArtifactError, "bertsmith computes"),
        ({"modules": []}, ArtifactError, "bertsmith computes"),
        ({"modules": {}}, DamagedError, r"modules\.json is no list of modules"),
        ({"modules": "[{"}, DamagedError, r"modules\.json is not valid JSON"),
        ({"modules": [{**OLD[0], "path": "0_Transformer"}, OLD[1]]}, ArtifactError, "has its model in '0_Transformer'"),
        ({"modules": [OLD[0], {**OLD[1], "path": "../1_Pooling"}]}, ArtifactError, "path = '../1_Pooling' is not the name"),
        ({"modules": [{**OLD[0], "kwargs": []}, OLD[1]]}, ArtifactError, "kwargs: unknown key"),
        ({"pooling": {"pooling_mode_lasttoken": True}}, ArtifactError, "pooling lasttoken is not one of cls, mean, max"),
        (
            {"pooling": {**MEAN, "pooling_mode_cls_token": True}},
            ArtifactError,
            "pooling cls_token [+] mean_tokens is not one of",
        ),
        ({"pooling": {"pooling_mode": ["mean", "max"]}}, ArtifactError, "pooling mean [+] max is not one of"),
        ({"pooling": {**MEAN, "include_prompt": False}}, ArtifactError, r"1_Pooling.config\.json:\n  include_prompt"),
        ({"pooling": {**MEAN, "word_embedding_dimension": 768}}, MismatchError, "width 768; those of the model have width 24"),
        ({"2_Normalize/config": {"module_input_name": "token_embeddings"}}, ArtifactError, "module_input_name"),
        ({"sentence_bert_config": {"max_seq_length": "long"}}, ArtifactError, "max_seq_length = 'long'"),
        ({"sentence_bert_config": {"transformer_task": "text-generation"}}, ArtifactError, "transformer_task"),
        ({"sentence_bert_config": {"modality_config": {"image": {}}}}, ArtifactError, "bertsmith reads text alone"),
        ({"tokenizer_config": {"do_lower_case": True, "model_max_length": "x"}}, DamagedError, "model_max_length = 'x'"),
        (
            {"config_sentence_transformers": {"prompts": {"query": "query: "}, "default_prompt_name": "query"}},
            ArtifactError,
            "puts 'query: ' before every text",
        ),
    ],
)
def test_what_bertsmith_does_not_compute(
    directory: Directory, contents: dict[str, Any], error: type[BertsmithError], message: str
) -> None:
    with pytest.raises(error, match=message):
        VectorPipeline.load(directory(**contents))


def test_lower_case_that_the_tokenizer_does_not_make(directory: Directory) -> None:
    path = directory(sentence_bert_config={"max_seq_length": 20, "do_lower_case": True})
    assert read_sentence_modules(path)[1] == 20
    Tokenizer.build(Tokenizer.load(path).tokens, lowercase=False).save(path)
    with pytest.raises(ArtifactError, match="do_lower_case = true, though the tokenizer keeps capitals"):
        read_sentence_modules(path)


@pytest.mark.parametrize("vectors", [SentenceVectors("cls"), SentenceVectors("max", normalised=True)])
def test_what_is_written_is_read(directory: Directory, vectors: SentenceVectors) -> None:
    path = directory()
    for name in ("modules.json", "1_Pooling/config.json"):
        (path / name).unlink()
    write_sentence_modules(path, vectors, width=24, max_length=16)
    assert read_sentence_modules(path) == (vectors, 16)
    assert (path / "2_Normalize").exists() == vectors.normalised


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"similarity_fn_name": "dot"}, "similarity_fn_name = 'dot'; bertsmith compares vectors by their cosine"),
        ({"truncate_dim": 8, "a": 1}, "bertsmith passes over what it does not know: 'a', 'truncate_dim'"),
    ],
)
def test_what_is_passed_over_is_said(
    directory: Directory, caplog: pytest.LogCaptureFixture, values: dict[str, Any], message: str
) -> None:
    path = directory(OLD, pooling=MEAN, config_sentence_transformers=values)
    for _ in range(2):
        read_sentence_modules(path)
    assert [record.getMessage() for record in caplog.records] == [f"{path / 'config_sentence_transformers.json'}: {message}"]
