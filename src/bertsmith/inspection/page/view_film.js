// Training film: the checkpoints of a run as a slider over the other views.
"use strict";
(function (bertsmith) {
  const { state, t } = bertsmith;
  const SHOWN = ["attention", "similarity", "prediction"];

  const shown = () => bertsmith.views[state.oneOf("film", SHOWN)];
  const framesOf = ({ about, model }) => about.models.filter((one) => one.role === "checkpoint" && one.of === model.id);

  function frame(chosen) {
    const frames = framesOf(chosen);
    return frames[state.integer("frame", frames.length - 1, 0, frames.length - 1)];
  }

  bertsmith.views.film = {
    section: "C.1",
    models: (chosen) => (framesOf(chosen).length ? [frame(chosen)] : [chosen.model]),
    controls(chosen) {
      const frames = framesOf(chosen);
      if (!frames.length) return [];
      const slider = { key: "frame", low: 0, high: frames.length - 1, otherwise: frames.length - 1 };
      return [
        bertsmith.segments({ key: "film", label: t("film.tab"), options: SHOWN.map((name) => [name, t(`${name}.tab`)]) }),
        bertsmith.slider({ ...slider, label: t("film.checkpoint"),
          format: (index) => t("film.step", { step: frames[index].step.toLocaleString("en") }) }),
        bertsmith.player({ ...slider, label: t("film.play"), beat: 1500 }),
        ...shown().controls({ about: chosen.about, model: frames[0] }),
      ];
    },
    async draw(context) {
      if (context.model.role !== "checkpoint") throw bertsmith.refusal("no_checkpoints");
      return shown().draw(context);
    },
  };
})(window.bertsmith);
