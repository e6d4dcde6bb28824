"""The training loop: steps, records, measurements, checkpoints, and a clean end however it comes."""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from bertsmith.artifacts.card import CardHeader, Evaluation, Origin, model_card
from bertsmith.artifacts.directory import save_model
from bertsmith.artifacts.languages import language_of
from bertsmith.batches.loader import PretrainingLoader
from bertsmith.errors import DivergedError, Interrupted
from bertsmith.model.model_config import PRESETS
from bertsmith.pretraining.losses import Tally, n_pairs
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.probes import ProbeSentence, fill_probes
from bertsmith.pretraining.report import write_report
from bertsmith.pretraining.trainer import Trainer
from bertsmith.progress import Progress, ProgressTask
from bertsmith.signals import collected
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.checkpoints import RunState, newest_whole, save_checkpoint
from bertsmith.training.loggers import Recorder
from bertsmith.training.meter import Meter, step_operations
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.schedule import Clock, Schedule, fraction
from bertsmith.types import PretrainingBatch


@dataclass(frozen=True, slots=True)
class PretrainState(RunState):
    """How far a pre-training run is: also the loader's position and the tokens seen."""

    position: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured on the way: held-out batches and blanks."""

    batches: Sequence[PretrainingBatch]
    probes: Sequence[ProbeSentence]

    def nsp_chance(self) -> dict[str, float]:
        """Return the accuracy of always giving the more frequent next-sentence answer; nothing where there are no pairs."""
        labels = [batch.next_sentence_labels for batch in self.batches if batch.next_sentence_labels is not None]
        if not labels:
            return {}
        share = torch.cat(labels).double().mean().item()
        return {"nsp_chance": max(share, 1 - share)}


@dataclass(frozen=True, slots=True)
class _Agreed:
    """What all ranks know of a step: its predictions over all ranks, the first rank's clock, whether to stop before it."""

    masked: float
    pairs: float
    elapsed: float
    stop: bool


@dataclass(frozen=True, slots=True)
class Loop:
    """A run's parts, put together; :meth:`run` makes them work."""

    config: PretrainConfig
    directory: RunDirectory
    tokenizer: Tokenizer
    loader: PretrainingLoader
    measured: Measured
    trainer: Trainer
    clock: Clock
    schedule: Schedule
    meter: Meter
    record: Recorder
    ranks: Ranks
    progress: Progress

    def run(self, state: PretrainState) -> Path:
        """Train from ``state`` to the end of the run and return the directory of the final model.

        Raises:
            Interrupted: a signal came; the checkpoint of the last step is saved.
            DivergedError: the loss became NaN or exploded; names the last good checkpoint.
        """
        if state.step == 0:
            self._measure(state)
        saved = state.step
        batches = self.loader.iterate(state.position, self.ranks.rank, self.ranks.world)
        per_rank = self.config.optimisation.accumulation // self.ranks.world
        task = self.progress.task("Pre-training", self.clock.total, self.clock.unit)
        with collected() as signals, closing(batches), task as shown:
            shown.advance(done := self.clock.done(state.step, state.elapsed))
            while True:
                started = time.monotonic()
                group = list(islice(batches, per_rank))
                agreed = self._agree(group, state.elapsed, bool(signals))
                finished = fraction(self.clock, state.step, agreed.elapsed) >= 1
                if finished or agreed.stop:
                    break
                state = self._step(state, group, agreed, started, shown)
                before, done = done, self.clock.done(state.step, state.elapsed)
                shown.advance(done - before)
                if state.step % self.config.record.evaluate_every == 0:
                    self._measure(state)
                if state.step % self.config.record.save_every == 0:
                    saved = self._save(state)
                # Measuring and saving count towards a time budget as well.
                state = replace(state, elapsed=agreed.elapsed + time.monotonic() - started)
        if finished:
            return self._finish(state)
        if saved < state.step:
            self._save(state)
        raise Interrupted(f"stopped after step {state.step}; the same command resumes from there")

    def _agree(self, group: list[tuple[int, PretrainingBatch]], elapsed: float, stop: bool) -> _Agreed:
        """Tell the other ranks what this one has, and return what holds for all."""
        own = [
            float(sum(len(batch.masked_positions) for _, batch in group)),
            float(sum(n_pairs(batch) for _, batch in group)),
            elapsed if self.ranks.is_first else 0.0,
            float(stop),
        ]
        masked, pairs, elapsed, stops = self.ranks.sum(
            torch.tensor(own, dtype=torch.float64, device=self.trainer.device)
        ).tolist()
        return _Agreed(masked, pairs, elapsed, stops > 0)

    def _step(
        self,
        state: PretrainState,
        group: list[tuple[int, PretrainingBatch]],
        agreed: _Agreed,
        started: float,
        task: ProgressTask,
    ) -> PretrainState:
        number = state.step + 1
        rate = self.schedule.rate(fraction(self.clock, state.step + 0.5, agreed.elapsed))
        batches = [self.trainer.moved(batch) for _, batch in group]
        try:
            tally, norm = self.trainer.step(number, batches, agreed.masked, agreed.pairs, rate)
        except DivergedError as error:
            raise DivergedError(f"{error}; {self._remedy()}") from None
        seconds = time.monotonic() - started
        operations = sum(step_operations(self.trainer.master, batch) for _, batch in group)
        self.meter.add(tally.tokens, operations * self.ranks.world, seconds)
        state = PretrainState(number, agreed.elapsed + seconds, group[-1][0], state.tokens + tally.tokens)
        if number % self.config.record.log_every == 0:
            self._record(state, tally, rate, norm, task)
        return state

    def _remedy(self) -> str:
        good = newest_whole(self.directory.checkpoints)
        kept = f"the last good checkpoint is {good}" if good else "no checkpoint was saved before it"
        start = f"begin a new run from it (--model {good})" if good else "begin a new run"
        return f"{kept}; {start} with a lower --learning-rate or a longer --warmup"

    def _record(self, state: PretrainState, tally: Tally, rate: float, norm: float, task: ProgressTask) -> None:
        means, speeds = tally.means(), self.meter.read()
        values = {
            "step": state.step,
            "loss": means["mlm_loss"] + means.get("nsp_loss", 0.0),
            **means,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens": state.tokens,
            **speeds,
            "seconds": state.elapsed,
        }
        task.note(
            f"step {state.step:,}  loss {values['loss']:.3f}  mlm {means['mlm_accuracy']:.1%}"
            + (f"  nsp {means['nsp_accuracy']:.1%}" if "nsp_accuracy" in means else "")
            + f"  {speeds['tokens_per_second']:,.0f} tokens/s"
            + (f"  {speeds['utilisation']:.0%} of peak" if speeds["utilisation"] <= 1 else "")
        )
        self.record("train", values)

    def _measure(self, state: PretrainState) -> None:
        """Measure on held-out batches and blanks, and bring the report up to date."""
        if self.measured.batches:
            tally = self.trainer.measure(self.measured.batches)
            means = tally.means()
            perplexity = math.exp(min(means["mlm_loss"], 700.0))
            figures = {**means, "mlm_perplexity": perplexity, **self.measured.nsp_chance()}
            self.record("held_out", {"step": state.step, **figures, "tokens": state.tokens, "seconds": state.elapsed})
        if self.ranks.is_first:
            self.trainer.master.eval()
            sentences = fill_probes(self.trainer.master, self.tokenizer, self.measured.probes)
            self.trainer.master.train()
            self.record("blanks", {"step": state.step, "sentences": sentences})
            write_report(self.directory.path)

    def _save(self, state: PretrainState) -> int:
        if self.ranks.is_first:
            save_checkpoint(self.directory, self.trainer, self.tokenizer, state, self.config.record.keep)
        self.ranks.wait()
        return state.step

    def _finish(self, state: PretrainState) -> Path:
        if state.step % self.config.record.evaluate_every:
            self._measure(state)
        if self.ranks.is_first:
            write_report(self.directory.path, is_finished=True)
            self.directory.finish()
            # The last of all, since a run that has it is finished.
            save_model(self.trainer.master, self.tokenizer, self.directory.final, self._card(state))
        self.ranks.wait()
        return self.directory.final

    def _card(self, state: PretrainState) -> str:
        held_out = self.directory.last("held_out") or {}
        scores = {name: value for name, value in held_out.items() if name.startswith(("mlm_", "nsp_"))}
        config = self.config
        origin = None if config.model in PRESETS else Origin.of(Path(config.model))
        texts = (self.tokenizer.decode(batch.inputs.token_ids.tolist()) for batch in self.measured.batches)
        header = CardHeader(
            title=self.directory.path.resolve().name,
            pipeline_tag="fill-mask",
            base_model=None if origin is None else origin.name,
            language=config.card.language or getattr(origin, "language", None) or language_of(texts),
            license=config.card.license or getattr(origin, "license", None),
            datasets=[config.corpus.name],
            evaluations=[Evaluation(config.corpus.name, "held out", scores)],
        )
        facts = {
            "Corpus": config.corpus.name,
            "Started from": config.model if origin is None else origin.name,
            "Objective": config.examples.objective,
            "Steps": f"{state.step:,}",
            "Tokens seen": f"{state.tokens:,}",
            "Seed": config.seed,
        }
        return model_card(header, facts, scores, config.to_toml())
