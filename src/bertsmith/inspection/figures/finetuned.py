"""What a fine-tuned model answers, with what a page draws of it (Devlin et al. 2019, section 4)."""

from bertsmith.inspection.subject import Reading
from bertsmith.tasks.shown import Shown
from bertsmith.tasks.task import Seen
from bertsmith.threads import threads_for


def task_answer(reading: Reading, choices: list[str] | None = None) -> Shown:
    """Return what a fine-tuned model answers, as its pipeline does.

    Raises:
        Refusal: the model is not fine-tuned, or its task needs a second text or choices.
    """
    pipeline = reading.subject.tuned
    asked = pipeline.task.question(reading.text, reading.pair, choices)
    with threads_for(reading.n_whole):
        (found,) = pipeline([asked])
    return pipeline.task.shown(Seen(pipeline.task.example(asked), found, reading.encoding, reading.scores()))
