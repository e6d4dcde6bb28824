// Training film: the checkpoints of a run, and last its model, as a slider over the other views.
"use strict";
(function (bertsmith) {
  const { state, t } = bertsmith;
  const SHOWN = ["attention", "similarity", "prediction"];

  const shown = () => bertsmith.views[state.oneOf("film", SHOWN)];
  /** The checkpoints of the model's run and the model itself; none where there is no checkpoint. */
  function framesOf({ about, model }) {
    const checkpoints = about.models.filter((one) => one.role === "checkpoint" && one.of === model.id);
    return checkpoints.length ? [...checkpoints, model] : [];
  }

  const frameName = ({ step }) => (step === null ? t("film.model") : t("film.step", { step: step.toLocaleString("en") }));

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
          format: (index) => frameName(frames[index]) }),
        bertsmith.player({ ...slider, label: t("film.play"), beat: 1500 }),
        ...shown().controls({ about: chosen.about, model: frames[0] }),
      ];
    },
    async draw(context) {
      if (context.model.missing.film) throw bertsmith.refusal("no_checkpoints");
      return shown().draw(context);
    },
  };
})(window.bertsmith);
