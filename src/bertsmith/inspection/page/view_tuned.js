// Fine-tuned: the model's answer for its task, and which tokens it came from.
"use strict";
(function (bertsmith) {
  const { html, state, t, number, percent } = bertsmith;
  const METHODS = ["integrated-gradients", "erasure"];

  const part = () => state.oneOf("tuned", Object.keys(PARTS));
  const suggested = ({ about }) => (about.start.choices || []).join("\n");
  const lines = (text) => text.split("\n").filter((line) => line.trim());

  async function answer(context) {
    const { model } = context;
    if (model.missing.task) throw bertsmith.refusal(model.missing.task.code, model.missing.task.message);
    const choices = lines(state.get("choices", suggested(context)));
    if (model.task.kind === "choose" && choices.length < 2) throw bertsmith.refusal("needs_choices");
    const found = await context.ask("task", model.task.kind === "choose" ? { choices } : {});
    return KINDS[found.kind](found, context);
  }

  const labelled = (title, name, labels, values, context, more = {}) => {
    const picture = bertsmith.bars({ names: labels, series: [{ values, hue: 0 }], width: context.width, label: title, high: 1,
      ...more });
    return bertsmith.figure({ title, name, wide: true, picture, note: more.note,
      numbers: () => ({ columns: ["label", "probability"], rows: labels.map((label, i) => [label, values[i]]) }) });
  };

  function spansFigure(found, context) {
    const title = t("tuned.answer");
    const letters = Array.from(context.texts.pair);
    const inside = (from, to) => letters.slice(from, to).join("");
    const place = found.text ? [inside(0, found.start),
      html("mark", { class: "piece answer", text: inside(found.start, found.end) }), inside(found.end)]
      : [context.texts.pair];
    return bertsmith.figure({
      title, name: "answer", wide: true, note: t("tuned.answer.note",
        { probability: percent(found.probability), none: number(found.no_answer) }),
      body: [html("p", { class: "big" }, bertsmith.foreign(found.text || t("tuned.noanswer"))),
        html("p", { class: "marked", dir: "auto" }, ...place)],
      numbers: () => ({ columns: ["text", "start", "end", "probability"],
        rows: found.spans.map((one) => [one.text, one.start, one.end, one.probability]) }) });
  }

  async function answerCurves(found, context) {
    const { tokens } = await context.ask("input");
    const names = tokens.map((one) => one.token);
    const title = t("tuned.curves");
    const picture = bertsmith.curves({ names, width: context.width, label: title, low: 0,
      high: Math.max(...found.starts, ...found.ends, 0.01), xTitle: t("axis.token"), yTitle: t("axis.probability"),
      series: [{ name: t("tuned.start"), values: found.starts, hue: 0 },
        { name: t("tuned.end"), values: found.ends, hue: 1, dashed: true }] });
    return bertsmith.figure({ title, name: "answer-curves", wide: true, picture, readout: picture.readout, note: t("tuned.curves.note"),
      numbers: () => ({ columns: ["token", "start", "end"],
        rows: names.map((name, i) => [name, found.starts[i], found.ends[i]]) }) });
  }

  function tagsFigure(found, context) {
    const typeOf = (tag) => tag.replace(/^[A-Z]-/, "");
    const kinds = [...new Set(found.words.filter((one) => one.tag !== "O").map((one) => typeOf(one.tag)))].sort();
    const named = (one) => one.tag !== "O";
    const picture = bertsmith.tokenPicture({ width: context.width, label: t("tuned.tags"),
      tokens: found.words.map((one) => one.text),
      strokes: found.words.map((one) => named(one) && bertsmith.palette.hue(kinds.indexOf(typeOf(one.tag)))),
      below: found.words.map((one) => (named(one) ? one.tag : "")),
        titles: found.words.map((one) => `${one.tag} ${percent(one.probability)}`) });
    const list = html("ul", { class: "texts" },
      ...found.entities.map((one) => html("li", {}, bertsmith.foreign(one.text), ` · ${one.type} · ${percent(one.probability)}`)));
    return bertsmith.figure({ title: t("tuned.tags"), name: "tags", wide: true, body: [list], picture,
      note: found.entities.length ? undefined : t("tuned.noentities"),
        numbers: () => ({ columns: ["word", "start", "end", "tag", "probability"],
        rows: found.words.map((one) => [one.text, one.start, one.end, one.tag, one.probability]) }) });
  }

  const KINDS = {
    classify: (found, context) => [labelled(t("tuned.classes"), "classes", found.labels, found.probabilities, context,
      { marked: [found.labels.indexOf(found.label)] })],
    multilabel: (found, context) => [labelled(t("tuned.classes"), "classes", found.labels, found.probabilities, context,
      { marked: found.given.map((label) => found.labels.indexOf(label)),
        note: t("tuned.given", { given: found.given.join(", ") || "–" }) })],
    regress: (found) => [bertsmith.figure({ title: t("tuned.value"), name: "value",
      body: [html("p", { class: "big", text: number(found.value) })],
      numbers: () => ({ columns: ["value"], rows: [[found.value]] }) })],
    tag: (found, context) => [tagsFigure(found, context)],
    answer: (found, context) => [spansFigure(found, context), answerCurves(found, context)],
    choose: (found, context) => [labelled(t("tuned.choices"), "choices", found.choices.map((one) => one.text),
      found.choices.map((one) => one.probability), context, { marked: [found.number] })],
  };

  // A tagger's and a masked-token model's attributions are of one token, the others' of the whole text.
  const ofToken = (model) => !model.task || model.task.explains === "token";
  const labelsOf = (model) => (model.task ? model.task.labels : []);

  async function attribution(context) {
    const { model } = context;
    const method = state.oneOf("method", METHODS);
    const lack = model.missing[method];
    if (lack) throw bertsmith.refusal(lack.code, lack.message);
    const { tokens } = await context.ask("input");
    const position = ofToken(model) ? { position: bertsmith.chosenToken(tokens) } : {};
    const labels = labelsOf(model);
    const named = state.get("goal");
    const goal = named && (!labels.length || labels.includes(named)) ? { target: named } : {};
    const found = await context.ask("attribution", { method, ...position, ...goal });
    const most = Math.max(...found.scores.map(Math.abs), 1e-9);
    const colour = bertsmith.palette.split(most);
    const names = tokens.map((one) => one.token);
    const picked = ofToken(model) && bertsmith.tokenPicker(tokens, position.position, t("tuned.pick"));
    const coloured = bertsmith.tokenPicture({ tokens: names, width: context.width, label: t("tuned.attribution"),
      fills: found.scores.map(colour),
      strokes: names.map((_, i) => i === found.position && bertsmith.palette.now().ink),
        titles: found.scores.map((score) => number(score)) });
    const strongest = bertsmith.range(names.length).sort(
      (one, other) => Math.abs(found.scores[other]) - Math.abs(found.scores[one])).slice(0, 12);
    const picture = bertsmith.bars({ names: strongest.map((i) => names[i]),
      series: [{ values: strongest.map((i) => found.scores[i]), hue: 0 }], width: context.width,
      label: t("tuned.attribution"), format: (value) => number(value) });
    const sums = found.baseline === null ? "" : t("tuned.sums",
      { value: number(found.value), baseline: number(found.baseline), gap: number(found.gap) });
    const numbers = () => ({ columns: ["position", "token", "score"], rows: names.map((name, i) => [i, name, found.scores[i]]) });
    return [
      picked,
      bertsmith.figure({ title: t("tuned.because", { target: found.target }), name: "attribution", wide: true,
        picture: coloured, numbers,
        note: [t(`tuned.${method}.note`), t("tuned.colours"), sums].filter(Boolean).join(" ") }),
      bertsmith.figure({ title: t("tuned.attribution"), name: "attribution-bars", wide: true, picture, numbers })];
  }

  const PARTS = { answer, attribution };

  bertsmith.views.tuned = {
    section: "3.2",
    models: ({ model }) => [model],
    controls({ about, model }) {
      const on = (...parts) => () => parts.includes(part());
      const labels = labelsOf(model);
      return [
        bertsmith.segments({ key: "tuned", label: t("tuned.tab"),
          options: Object.keys(PARTS).map((name) => [name, t(`tuned.part.${name}`)]) }),
        bertsmith.choice({ key: "method", label: t("tuned.method"), shown: on("attribution"),
          options: METHODS.map((method) => [method, t(`tuned.${method}`)]) }),
        labels.length ? bertsmith.choice({ key: "goal", label: t("tuned.target"), shown: on("attribution"),
          options: [["", t("tuned.likeliest")], ...labels.map((label) => [label, label])] })
          : bertsmith.field({ key: "goal", label: t("tuned.target"), hint: t("tuned.likeliest"),
            shown: () => part() === "attribution" && !model.task && !bertsmith.source.isExport }),
        bertsmith.field({ key: "choices", label: t("tuned.options"), lines: 3, otherwise: suggested({ about }),
          shown: () => part() === "answer" && model.task !== null && model.task.kind === "choose" }),
      ];
    },
    draw: (context) => PARTS[part()](context),
  };
})(window.bertsmith);
