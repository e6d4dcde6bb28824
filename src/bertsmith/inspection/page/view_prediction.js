// Prediction: what the model would put in a token's place, layer by layer; next sentence; the masks of training; surprise.
"use strict";
(function (bertsmith) {
  const { html, state, t, number, range } = bertsmith;
  const KINDS = { mask: 0, random: 1, kept: 2 };

  const part = () => state.oneOf("prediction", bertsmith.partsHeld(PARTS));

  async function token(context) {
    const { tokens } = await context.ask("input");
    const position = bertsmith.chosenToken(tokens);
    const masked = state.get("open") !== "1";
    const answer = await context.ask("predict", { position, masked });
    return [
      blanked(tokens, position, masked, context.model),
      candidates(answer, context.half), readout(answer, context.half), layersFigure(answer)];
  }

  /** The tokens, with the chosen one as the model sees it. */
  function blanked(tokens, position, masked, model) {
    const seen = tokens.map((one, index) => (masked && index === position ? { ...one, token: model.mask_token } : one));
    return bertsmith.tokenPicker(seen, position, t("prediction.pick"));
  }

  function candidates(answer, width) {
    const names = answer.candidates.map((one) => one.token);
    const values = answer.candidates.map((one) => one.probability);
    const title = t("prediction.top");
    const picture = bertsmith.bars({ names, series: [{ values, hue: 0 }], width, label: title, high: Math.max(...values),
      marked: [names.indexOf(answer.original)] });
    return bertsmith.figure({ title, name: "candidates", picture,
      note: t("prediction.entropy", { entropy: number(answer.entropy, 2),
      original: answer.original, probability: bertsmith.percent(answer.original_probability), rank: answer.original_rank }),
      numbers: () => ({ columns: ["token", "id", "probability"],
        rows: answer.candidates.map((one) => [one.token, one.id, one.probability]) }) });
  }

  function readout(answer, width) {
    const names = answer.layers.map((one) => String(one.layer));
    const most = Math.max(...answer.layers.map((one) => one.entropy), 1);
    const title = t("prediction.layers");
    const picture = bertsmith.curves({ names, width, label: title, low: 0, high: 1, xTitle: t("layer"), yTitle: t("axis.share"), series: [
      { name: t("prediction.original", { token: answer.original }),
        values: answer.layers.map((one) => one.original_probability), hue: 0 },
      { name: t("prediction.uncertainty", { most: number(most, 1) }), values: answer.layers.map((one) => one.entropy / most),
        hue: 1, dashed: true }] });
    return bertsmith.figure({ title, note: t("prediction.layers.note"), name: "layer-curves", picture, readout: picture.readout, numbers: () => ({
      columns: ["layer", "entropy", "original_probability"],
      rows: answer.layers.map((one) => [one.layer, one.entropy, one.original_probability]) }) });
  }

  function layersFigure(answer) {
    const colour = bertsmith.palette.ramp(0, 1);
    const cell = (one) => {
      const node = html("td", {}, bertsmith.foreign(one.token), html("small", { text: ` ${bertsmith.percent(one.probability)}` }));
      const rgb = colour(one.probability);
      node.style.backgroundColor = bertsmith.palette.css(rgb);
      node.style.color = bertsmith.palette.inkOn(rgb);
      return node;
    };
    const table = html("table", { class: "layers" },
      html("thead", {}, html("tr", {}, html("th", { scope: "col", text: t("layer") }),
        ...range(5).map((index) => html("th", { scope: "col", text: String(index + 1) })))),
      html("tbody", {}, ...[...answer.layers].reverse().map((one) => html("tr", {},
        html("th", { scope: "row", text: String(one.layer) }),
        ...one.candidates.map(cell)))));
    return bertsmith.figure({ title: t("prediction.best"), name: "layer-candidates", wide: true,
      body: [html("div", { class: "scroll" }, table)],
      numbers: () => ({ columns: ["layer", "rank", "token", "probability"],
        rows: answer.layers.flatMap((one) => one.candidates.map((best, rank) => [one.layer, rank + 1, best.token,
          best.probability])) }) });
  }

  async function next(context) {
    if (!context.pair) throw bertsmith.refusal("needs_pair");
    const { follows, elsewhere } = await context.ask("next-sentence");
    const names = [t("prediction.follows"), t("prediction.elsewhere")];
    const title = t("prediction.next");
    const picture = bertsmith.bars({ names, series: [{ values: [follows, elsewhere], hue: 0 }], width: context.width,
      label: title, high: 1 });
    return [bertsmith.figure({ title, note: t("prediction.next.note"), name: "next-sentence", wide: true, picture,
      numbers: () => ({ columns: ["label", "probability"], rows: [["follows", follows], ["elsewhere", elsewhere]] }) })];
  }

  async function masks(context) {
    const fields = { seed: state.integer("seed", 0, 0, 2 ** 31 - 1), epoch: state.integer("epoch", 0, 0, 10 ** 6),
      whole_words: state.get("whole") === "1" };
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("masking", fields)]);
    const at = new Map(answer.chosen.map((one) => [one.position, one]));
    const found = (index) => at.get(index) || null;
    const picture = bertsmith.tokenPicture({ width: context.width, label: t("prediction.masks"),
      tokens: tokens.map((one, index) => (found(index) ? found(index).token : one.token)),
      strokes: tokens.map((_, index) => found(index) && bertsmith.palette.hue(KINDS[found(index).kind])),
      below: tokens.map((_, index) => (found(index) ? found(index).original : "")),
      titles: tokens.map((_, index) => found(index) && t(`prediction.kind.${found(index).kind}`)) });
    const legend = html("ul", { class: "legend" }, ...Object.entries(KINDS).map(([kind, hue]) => {
      const key = html("span", { class: "token", text: String(answer.chosen.filter((one) => one.kind === kind).length) });
      key.style.borderColor = bertsmith.palette.hue(hue);
      return html("li", {}, key, " ", t(`prediction.kind.${kind}`));
    }));
    return [bertsmith.figure({ title: t("prediction.masks"), name: "masking", wide: true, body: [legend], picture,
      note: t("prediction.masks.note", { n: answer.chosen.length, of: tokens.filter((one) => !one.is_special).length }),
      numbers: () => ({ columns: ["position", "kind", "token", "original"],
        rows: answer.chosen.map((one) => [one.position, one.kind, one.token, one.original]) }) })];
  }

  async function surprise(context) {
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("pseudo-perplexity")]);
    const at = new Map(answer.tokens.map((one) => [one.position, one]));
    const colour = bertsmith.palette.ramp(0, 10);
    const bits = (one) => -one.log_probability / Math.LN2;
    const coloured = bertsmith.tokenPicture({ width: context.width, label: t("prediction.surprise"),
      tokens: tokens.map((one) => one.token),
      fills: tokens.map((_, index) => at.has(index) && colour(bits(at.get(index)))),
      titles: tokens.map((_, index) => at.has(index)
        && t("prediction.instead", { probability: bertsmith.percent(at.get(index).probability),
        likeliest: at.get(index).likeliest })) });
    const names = answer.tokens.map((one) => tokens[one.position].token);
    const title = t("prediction.bits");
    const values = answer.tokens.map(bits);
    const picture = bertsmith.curves({ names, series: [{ name: title, values, hue: 0 }], width: context.width, label: title, low: 0,
      high: Math.max(...values, 1), xTitle: t("axis.token"), yTitle: t("prediction.bits") });
    const numbers = () => ({ columns: ["position", "token", "probability", "log_probability", "likeliest"],
      rows: answer.tokens.map((one) => [one.position, tokens[one.position].token, one.probability, one.log_probability,
        one.likeliest]) });
    return [
      bertsmith.figure({ title: t("prediction.surprise"), name: "pseudo-perplexity", wide: true, picture: coloured, numbers,
        note: t("prediction.surprise.note", { perplexity: number(answer.perplexity, 2) }) }),
      bertsmith.figure({ title, name: "surprise-curve", wide: true, picture, readout: picture.readout, numbers })];
  }

  const PARTS = { token, next, masks, surprise };

  bertsmith.views.prediction = {
    section: "3.1",
    models: ({ model }) => [model],
    controls() {
      const on = (...parts) => () => parts.includes(part());
      return [
        bertsmith.segments({ key: "prediction", label: t("prediction.tab"),
          options: bertsmith.partsHeld(PARTS).map((name) => [name, t(`prediction.part.${name}`)]) }),
        bertsmith.toggle({ key: "open", label: t("prediction.open"), shown: () => part() === "token"
          && !bertsmith.source.isExport }),
        bertsmith.slider({ key: "seed", label: t("prediction.seed"), low: 0, high: bertsmith.source.isExport ? 9 : 99,
          otherwise: 0, shown: on("masks") }),
        bertsmith.slider({ key: "epoch", label: t("prediction.epoch"), low: 0, high: 39, otherwise: 0,
          shown: () => part() === "masks" && !bertsmith.source.isExport }),
        bertsmith.toggle({ key: "whole", label: t("prediction.whole"), shown: on("masks") }),
      ];
    },
    draw: (context) => PARTS[part()](context),
  };
})(window.bertsmith);
