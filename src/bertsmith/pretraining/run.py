"""Pre-train a BERT on a corpus: from configuration to final model (Devlin et al. 2019, section 3.1)."""

import logging
from pathlib import Path

import torch

from bertsmith.artifacts.directory import load_model
from bertsmith.batches.examples import Integers, Objective
from bertsmith.batches.full_sentences import FullSentences
from bertsmith.batches.loader import PretrainingLoader
from bertsmith.batches.masking import SpecialIds
from bertsmith.batches.next_sentence import NextSentence
from bertsmith.batches.order import split_documents
from bertsmith.corpus.store import Corpus
from bertsmith.errors import ArtifactError, MismatchError
from bertsmith.hub import hint
from bertsmith.machine import choose_device, choose_dtype, environment, keep_few_kernels, keep_pages, matrix_product_rate
from bertsmith.model.bert import MASKED_TOKEN, PRETRAINING, Bert, Heads, initialise, set_dropout, uninitialised
from bertsmith.model.model_config import PRESETS, preset
from bertsmith.pretraining.fixed_shape import FixedShape
from bertsmith.pretraining.loop import Loop, Measured, PretrainState
from bertsmith.pretraining.options import ExampleSettings, PretrainConfig, seconds
from bertsmith.pretraining.probes import given_probes, held_out_probes
from bertsmith.pretraining.trainer import Trainer
from bertsmith.progress import SILENT, Progress
from bertsmith.signals import interruptible
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.checkpoints import resume
from bertsmith.training.loggers import recorder
from bertsmith.training.meter import Meter
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory, digest_of_files
from bertsmith.training.schedule import BudgetClock, Clock, StepClock, make_schedule

log = logging.getLogger("bertsmith")


def pretrain(config: PretrainConfig, progress: Progress = SILENT) -> Path:
    """Run, or resume, the pre-training that ``config`` describes and return the directory of the final model.

    Raises:
        UsageError: settings that contradict each other or the machine.
        MismatchError: corpus, model and an earlier part of the run do not fit together.
        BusyError: another process works on the run.
        DivergedError: the loss became NaN or exploded.
        Interrupted: SIGINT or SIGTERM came; a checkpoint is saved and the same call resumes.
    """
    ranks = Ranks.from_environment()
    config.check(ranks.world)
    keep_pages()
    keep_few_kernels()
    device = choose_device(config.machine.device, ranks.local_rank)
    ranks.join(device)
    try:
        with interruptible("stopped; the same command resumes from the last checkpoint there is"):
            return _pretrain(config, ranks, device, progress if ranks.is_first else SILENT)
    finally:
        ranks.leave()


def _pretrain(config: PretrainConfig, ranks: Ranks, device: torch.device, progress: Progress) -> Path:
    corpus = Corpus.open(config.corpus, progress=progress)
    tokenizer = corpus.tokenizer()
    master = starting_model(config, tokenizer)
    dtype = choose_dtype(config.machine.precision, device)
    training, held_out = split_documents(corpus, config.examples.held_out, 2 if config.examples.objective == "nsp" else 1)
    loader = _loader(config, corpus, tokenizer, training)
    measured = _measured(config, corpus, tokenizer, held_out, master.config.max_positions)
    directory = RunDirectory(config.out)
    with directory.begun(config, {**environment(device, dtype), "corpus_sha256": digest_of_files(corpus.manifest)}, ranks):
        if directory.final.exists():
            log.warning("%s is finished already; begin a new run with another --out", directory.path)
            return directory.final
        compiled = config.machine.compile
        # On a CPU compiled parts take any shape, and filler would be work.
        one_shape = FixedShape.of(config.optimisation.batch_tokens, config.masking.predict_share)
        shape = one_shape if compiled and device.type == "cuda" else None
        trainer = Trainer(master, config.optimisation, config.seed, ranks, device, dtype, compiled, shape)
        with recorder(directory, config.record, ranks) as record:
            loop = Loop(
                config=config,
                directory=directory,
                tokenizer=tokenizer,
                loader=loader,
                measured=measured,
                trainer=trainer,
                clock=_clock(config, loader, progress),
                schedule=make_schedule(config.optimisation, config.optimisation.learning_rate),
                meter=Meter(lambda: matrix_product_rate(device, dtype) * ranks.world),
                record=record,
                ranks=ranks,
                progress=progress,
            )
            return loop.run(resume(directory, trainer, PretrainState))


def starting_model(config: PretrainConfig, tokenizer: Tokenizer) -> Bert:
    """Return the model that training begins with: a preset with random weights, or the model of a directory.

    Raises:
        ArtifactError: ``config.model`` is neither.
        MismatchError: the directory's tokenizer is not the corpus's, or the sequences are longer than its positions.
    """
    heads = PRETRAINING if config.examples.objective == "nsp" else MASKED_TOKEN
    if config.model in PRESETS:
        master = uninitialised(preset(config.model, tokenizer.vocabulary_size), heads)
        initialise(master, config.seed)
    else:
        master = _model_of_directory(Path(config.model), tokenizer, heads, config.seed)
    if config.examples.max_length > master.config.max_positions:
        raise MismatchError(
            f"--max-length {config.examples.max_length} is beyond the {master.config.max_positions} positions of {config.model}"
        )
    if config.optimisation.dropout is not None:
        set_dropout(master, config.optimisation.dropout)
    return master


def _model_of_directory(path: Path, tokenizer: Tokenizer, heads: Heads, seed: int) -> Bert:
    if not path.exists():
        raise ArtifactError(f"--model {path}: neither a preset ({', '.join(PRESETS)}) nor a model directory{hint(path)}")
    if Tokenizer.load(path).digest != tokenizer.digest:
        raise MismatchError(
            f"the corpus was made with another tokenizer than {path}'s; make it anew with: bertsmith corpus --tokenizer {path}"
        )
    return load_model(path, heads, seed)


def make_objective(examples: ExampleSettings) -> Objective:
    """Return the objective that the configuration names."""
    if examples.objective == "nsp":
        return NextSentence(examples.max_length, examples.short_share)
    return FullSentences(examples.max_length)


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Return the ids that batches need; :class:`ArtifactError` for a vocabulary without a mask token."""
    if tokenizer.mask_id is None:
        raise ArtifactError("the corpus's vocabulary has no [MASK], which pre-training needs; make one with: bertsmith vocab")
    return SpecialIds(
        cls=tokenizer.cls_id,
        sep=tokenizer.sep_id,
        mask=tokenizer.mask_id,
        vocabulary_size=tokenizer.vocabulary_size,
        special=tokenizer.special_ids,
    )


def _loader(config: PretrainConfig, corpus: Corpus, tokenizer: Tokenizer, documents: Integers) -> PretrainingLoader:
    return PretrainingLoader(
        corpus,
        documents,
        make_objective(config.examples),
        config.masking,
        special_ids(tokenizer),
        config.optimisation.batch_tokens,
        config.seed,
        config.loader_workers,
    )


def _measured(config: PretrainConfig, corpus: Corpus, tokenizer: Tokenizer, held_out: Integers, max_positions: int) -> Measured:
    probes = given_probes(config.record.probes, tokenizer, max_positions)
    if not len(held_out):
        return Measured([], probes)
    batches = _loader(config, corpus, tokenizer, held_out).fixed(config.record.evaluation_tokens)
    return Measured(batches, probes or held_out_probes(corpus, held_out, tokenizer))


def _clock(config: PretrainConfig, loader: PretrainingLoader, progress: Progress) -> Clock:
    if config.budget is not None:
        return BudgetClock(seconds(config.budget))
    if config.steps is not None:
        return StepClock(config.steps)
    assert config.epochs is not None
    whole, part = int(config.epochs), config.epochs % 1
    batches = sum(loader.n_batches(epoch, progress) for epoch in range(whole))
    if part:
        batches += round(part * loader.n_batches(whole, progress))
    return StepClock(max(1, round(batches / config.optimisation.accumulation)))
