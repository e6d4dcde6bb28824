// Attention: where each head looks, head by head and as a whole, and what becomes of the prediction without it.
"use strict";
(function (bertsmith) {
  const { html, state, t, number, range } = bertsmith;
  const FILTERS = { all: null, aa: [0, 0], ab: [0, 1], ba: [1, 0], bb: [1, 1] };
  const SHARES = ["first", "separator", "self", "previous", "next", "same_word", "same_token", "within_a", "a_to_b", "b_to_a",
    "within_b"];
  const MEASURES = ["entropy", "distance", ...SHARES];

  const part = () => state.oneOf("attention", bertsmith.partsHeld(PARTS));
  const layerOf = (model) => state.integer("layer", 1, 1, model.n_layers);
  const headOf = (model) => state.integer("head", 0, 0, model.n_heads);
  const openHead = (row, column) => state.set({ attention: null, layer: row + 1, head: column + 1 });
  const layerNames = (model) => range(model.n_layers).map((row) => String(row + 1));
  const headNames = (model) => range(model.n_heads).map((column) => String(column + 1));
  const place = (row, column) => t("attention.place", { layer: row + 1, head: column + 1 });
  const average = (heads) => heads[0].map(
    (row, i) => row.map((_, j) => heads.reduce((sum, head) => sum + head[i][j], 0) / heads.length));

  /** The rows and columns that the filter leaves, of a matrix over blocks of tokens. */
  function filtered(answer, tokens, pair) {
    const sides = pair ? FILTERS[state.oneOf("filter", Object.keys(FILTERS))] : null;
    const segments = answer.edges.slice(0, -1).map((start) => tokens[start].segment);
    const of = (side) => range(segments.length).filter((index) => side === null || segments[index] === side);
    return sides ? sides.map(of) : [of(null), of(null)];
  }

  async function headView(context) {
    const layer = layerOf(context.model);
    const head = headOf(context.model);
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("attention", { layer })]);
    const [rows, columns] = filtered(answer, tokens, context.pair);
    const cut = (matrix) => rows.map((i) => columns.map((j) => matrix[i][j]));
    const shown = answer.heads.map((matrix, index) => ({ weights: cut(matrix), hue: index, number: index + 1 }))
      .filter((one) => head === 0 || one.number === head);
    const names = bertsmith.blockNames(answer, tokens);
    const [left, right] = [rows.map((i) => names[i]), columns.map((j) => names[j])];
    const mean = average(shown.map((one) => one.weights));
    const title = head === 0 ? t("attention.all", { layer }) : place(layer - 1, head - 1);
    const note = bertsmith.reduced(answer);
    const rowsAre = note || columns.length < names.length ? "attention.from.part" : "attention.from";
    return [
      linesFigure({ left, right, shown, mean, title, note, width: context.half }),
      matrixFigure({ left, right, mean, title: t(head === 0 ? "attention.mean" : "attention.matrix"), note, width: context.half,
        rowsAre }),
    ];
  }

  function linesFigure({ left, right, shown, mean, title, note, width }) {
    const readout = bertsmith.readout(t("attention.hover"));
    const most = (names, weights) => range(names.length).sort((one, other) => weights[other] - weights[one]).slice(0, 5)
      .map((index) => `${names[index]} ${number(weights[index])}`).join(" · ");
    function focused(found) {
      if (found === null) return readout.say(t("attention.hover"));
      const { side, index } = found;
      return readout.say(side === "left" ? t("attention.looks", { token: left[index], where: most(right, mean[index]) })
        : t("attention.looked", { token: right[index], where: most(left, mean.map((row) => row[index])) }));
    }
    const picture = bertsmith.links({ left, right, layers: shown, width, label: title, focused });
    return bertsmith.figure({ title, note, name: "attention-lines", picture, readout, numbers: () => ({
      columns: ["head", "token", ...right],
      rows: shown.flatMap((one) => one.weights.map((row, i) => [one.number, left[i], ...row])) }) });
  }

  function matrixFigure({ left, right, mean, title, note, width, name = "attention-matrix", rowsAre, wide = false }) {
    const picture = bertsmith.heatmap({
      values: mean, rows: left, columns: right, colour: bertsmith.palette.ramp(0, Math.max(...mean.flat())), width, label: title,
      describe: (i, j) => `${left[i]} → ${right[j]}: ${number(mean[i][j], 4)}`,
    });
    return bertsmith.figure({ title, note: [t(rowsAre), note].filter(Boolean).join(" "), name, wide, picture,
      readout: picture.readout, numbers: () => bertsmith.matrixNumbers(left, right, mean) });
  }

  async function modelView(context) {
    const answer = await context.ask("attention-overview");
    const picture = bertsmith.cells({
      rows: layerNames(context.model), columns: headNames(context.model), width: context.width, most: 92, least: 18,
      label: t("attention.overview"), describe: (row, column) => t("attention.open", { place: place(row, column) }), pick: openHead,
      paint: (brush, left, top, cell) => answer.layers.forEach((heads, row) => heads.forEach((matrix, column) => {
        const colour = bertsmith.palette.ramp(0, Math.sqrt(Math.max(...matrix.flat())));
        bertsmith.paintMatrix(brush, matrix, (value) => colour(Math.sqrt(value)),
          left + column * cell + 2, top + row * cell + 2, cell - 4, cell - 4);
      })),
    });
    return [bertsmith.figure({
      title: t("attention.overview"), note: [t("attention.overview.note"), bertsmith.reduced(answer)].filter(Boolean).join(" "),
      name: "attention-overview", wide: true, picture, readout: picture.readout,
      numbers: () => ({ columns: ["layer", "head", "row", ...range(answer.shown)],
        rows: answer.layers.flatMap((heads, l) => heads.flatMap(
          (matrix, h) => matrix.map((row, i) => [l + 1, h + 1, i, ...row]))) }),
    })];
  }

  async function queryKey(context) {
    const [layer, head] = [layerOf(context.model), Math.max(headOf(context.model), 1)];
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("query-key", { layer })]);
    const at = bertsmith.chosenToken(tokens);
    const to = state.integer("to", Math.min(at + 1, tokens.length - 1), 0, tokens.length - 1);
    const [query, keys] = [answer.queries[head - 1][at], answer.keys[head - 1]];
    const products = keys.map((key) => key.map((value, d) => value * query[d]));
    const scores = products.map((product) => answer.scale * product.reduce((sum, value) => sum + value, 0));
    const highest = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - highest));
    const weights = powers.map((power) => power / powers.reduce((sum, value) => sum + value, 0));
    const names = tokens.map((token) => token.token);
    return [
      bertsmith.tokenPicker(tokens, at, t("attention.query")),
      bertsmith.tokenPicker(tokens, to, t("attention.key"), "to", true),
      productFigure({ query, key: keys[to], product: products[to], names: [names[at], names[to]], score: scores[to],
        weight: weights[to],
        width: context.width, title: place(layer - 1, head - 1) }),
      scoresFigure({ products, scores, weights, names, query: names[at], width: context.width }),
    ];
  }

  function productFigure({ query, key, product, names, score, weight, width, title }) {
    const values = [query, key, product];
    const rows = [t("attention.q", { token: names[0] }), t("attention.k", { token: names[1] }), t("attention.qk")];
    const columns = query.map((_, d) => String(d + 1));
    const colours = values.map((row) => bertsmith.palette.split(Math.max(...row.map(Math.abs))));
    const picture = bertsmith.heatmap({ values, rows, columns, colour: (value, row) => colours[row](value), width, label: title,
      least: 7, tall: 20,
      describe: (i, d) => `${rows[i]} [${d + 1}] = ${number(values[i][d])}` });
    return bertsmith.figure({
      title, note: t("attention.product", { score: number(score), weight: number(weight, 4), query: names[0], key: names[1] }),
      name: "query-key", wide: true, picture, readout: picture.readout,
        numbers: () => bertsmith.matrixNumbers(rows, columns, values) });
  }

  function scoresFigure({ products, scores, weights, names, query, width }) {
    const best = range(names.length).sort((one, other) => weights[other] - weights[one]).slice(0, 20);
    const picture = bertsmith.bars({ names: best.map((j) => names[j]),
      series: [{ values: best.map((j) => weights[j]), hue: 0 }], width,
      label: t("attention.weights", { query }), high: 1 });
    return bertsmith.figure({
      title: t("attention.weights", { query }), note: t("attention.weights.note", { n: best.length }), name: "scores",
        wide: true, picture,
      numbers: () => ({ columns: ["token", "score", "weight", ...products[0].map((_, d) => d + 1)],
        rows: names.map((name, j) => [name, scores[j], weights[j], ...products[j]]) }) });
  }

  const shareOf = (value, measure) => (SHARES.includes(measure) ? bertsmith.percent(value) : number(value, 2));

  async function summary(context) {
    const { heads } = await context.ask("heads");
    const measures = MEASURES.filter((measure) => heads[0][0][measure] !== null);
    const measure = state.oneOf("measure", measures);
    const values = heads.map((row) => row.map((head) => head[measure]));
    const rows = layerNames(context.model);
    const columns = headNames(context.model);
    const title = t(`measure.${measure}`);
    const picture = bertsmith.heatmap({
      values, rows, columns, most: 46, width: context.half, label: title, pick: openHead,
      colour: bertsmith.palette.ramp(0, SHARES.includes(measure) ? 1 : Math.max(...values.flat())),
      describe: (l, h) => `${place(l, h)}: ${t(`pattern.${heads[l][h].pattern}`)} · ` +
        measures.map((one) => `${t(`measure.${one}`)} ${shareOf(heads[l][h][one], one)}`).join(" · "),
    });
    return [
      bertsmith.figure({ title, note: t(`measure.${measure}.note`), name: "heads", picture, readout: picture.readout,
        numbers: () => ({
        columns: ["layer", "head", ...measures, "pattern"],
        rows: heads.flatMap((row, l) => row.map((head, h) => [l + 1, h + 1, ...measures.map((one) => head[one]),
          head.pattern])) }) }),
      patterns(heads),
    ];
  }

  function patterns(heads) {
    const found = new Map();
    heads.forEach((row, l) => row.forEach((head, h) => found.set(head.pattern, [...(found.get(head.pattern) || []), [l, h]])));
    const sorted = [...found].sort((one, other) => other[1].length - one[1].length);
    return html("div", { class: "card" }, html("h3", { text: t("attention.patterns") }),
      html("p", { class: "note", text: t("attention.patterns.note") }),
      html("dl", { class: "patterns" }, ...sorted.flatMap(([pattern, places]) => [
        html("dt", {}, t(`pattern.${pattern}`), html("span", { class: "count", text: String(places.length) })),
        html("dd", {}, ...places.map(([l, h]) => html("button", { type: "button", class: "link", text: `${l + 1}·${h + 1}`,
          "aria-label": place(l, h), onclick: () => openHead(l, h) })))])));
  }

  async function rollout(context) {
    const layer = layerOf(context.model);
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("rollout", { layer })]);
    const names = bertsmith.blockNames(answer, tokens);
    return [matrixFigure({ left: names, right: names, mean: answer.rollout, title: t("attention.rollout", { layer }),
      note: bertsmith.reduced(answer), width: context.width, name: "rollout", wide: true, rowsAre: "attention.rollout.note" })];
  }

  const targetsOf = ({ model, pair }) => [
    ...(model.missing.predict ? [] : ["token"]),
    ...(model.missing["next-sentence"] || !pair ? [] : ["next-sentence"]),
    ...(model.task && model.task.explains ? ["task"] : []),
  ];
  const headsOff = (model) => state.get("off").split(".").map((text) => text.split("-").map(Number))
    .filter(([layer, head]) => layer >= 1 && layer <= model.n_layers && head >= 1 && head <= model.n_heads);

  async function switchOff(context) {
    const { model } = context;
    const targets = targetsOf(context);
    if (!targets.length) throw bertsmith.refusal(model.missing["next-sentence"] ? "no_target" : "needs_pair");
    const target = state.oneOf("target", targets);
    const { tokens } = await context.ask("input");
    const ofToken = target === "token" || (target === "task" && model.task.explains === "token");
    const at = ofToken ? { position: bertsmith.chosenToken(tokens) } : {};
    const answer = await context.ask("ablation", { target, ...at });
    const off = headsOff(model);
    let after = null;
    if (off.length === 1) after = answer.after[off[0][0] - 1][off[0][1] - 1];
    else if (off.length > 1) ({ after } = await context.ask("ablate", { target, ...at, off }));
    return [
      ofToken && bertsmith.tokenPicker(tokens, at.position, t(target === "token" ? "prediction.pick" : "tuned.pick")),
      changeFigure(context, answer, off), beforeAfter(context, answer, off, after)];
  }

  function changeFigure(context, answer, off) {
    const { model } = context;
    const rows = layerNames(model);
    const columns = headNames(model);
    const most = Math.max(...answer.change.flat(), 1e-9);
    const toggle = (row, column) => {
      const key = `${row + 1}-${column + 1}`;
      const keys = off.map((pair) => pair.join("-"));
      const next = keys.includes(key) ? keys.filter((one) => one !== key) : [...keys, key];
      state.set({ off: next.length ? next.join(".") : null });
    };
    const picture = bertsmith.heatmap({ values: answer.change, rows, columns, most: 46, width: context.half,
      colour: bertsmith.palette.ramp(0, most), label: t("attention.change"), pick: toggle,
      describe: (l, h) => `${place(l, h)}: ${number(answer.change[l][h], 4)}`, marks: off.map(([l, h]) => [l - 1, h - 1]) });
    return bertsmith.figure({ title: t("attention.change"), note: t("attention.change.note"), name: "ablation", picture,
      readout: picture.readout, numbers: () => ({ columns: ["layer", "head", "change", ...answer.labels],
        rows: answer.change.flatMap((row, l) => row.map((value, h) => [l + 1, h + 1, value, ...answer.after[l][h]])) }) });
  }

  function beforeAfter(context, answer, off, after) {
    const isScore = answer.labels.length === 1; // a number or an answer's score, which is no probability
    const series = [{ name: t("attention.before"), values: answer.before, hue: 0 },
      ...(after ? [{ name: t("attention.after"), values: after, hue: 1 }] : [])];
    const picture = bertsmith.bars({ names: answer.labels, series, width: context.half, label: t("attention.effect"),
      ...(isScore ? { format: number } : { high: 1 }) });
    const note = off.length ? t("attention.off", { heads: off.map(([l, h]) => `${l}·${h}`).join(", ") }) : t("attention.none");
    const again = html("p", {}, html("button", { type: "button", class: "plain", text: t("attention.on"), "data-key": "on",
      onclick: () => state.set({ off: null }) }));
    return bertsmith.figure({ title: t("attention.effect"), note, name: "before-after", picture, body: after ? [again] : [],
      numbers: () => ({
      columns: ["label", "before", "after"], rows: answer.labels.map((label, i) => [
        label, answer.before[i], after ? after[i] : ""]) }) });
  }

  const PARTS = { heads: headView, model: modelView, "query-key": queryKey, summary, rollout, off: switchOff };

  bertsmith.views.attention = {
    section: "3",
    models: ({ model }) => [model],
    controls({ about, model }) {
      const most = (name) => Math.max(...about.models.map((one) => one[name]));
      const on = (...parts) => () => parts.includes(part());
      const targets = targetsOf({ model, pair: true });
      const heads = range(most("n_heads")).map((index) => [String(index + 1), String(index + 1)]);
      return [
        bertsmith.segments({ key: "attention", label: t("attention.tab"),
          options: bertsmith.partsHeld(PARTS).map((name) => [name, t(`attention.part.${name}`)]) }),
        bertsmith.slider({ key: "layer", label: t("layer"), low: 1, high: most("n_layers"), otherwise: 1,
          shown: on("heads", "query-key", "rollout") }),
        bertsmith.choice({ key: "head", label: t("head"), options: [["0", t("attention.every")], ...heads], shown: on("heads") }),
        bertsmith.choice({ key: "head", label: t("head"), options: heads, shown: on("query-key") }),
        bertsmith.choice({ key: "filter", label: t("attention.filter"), shown: () => part() === "heads" && bertsmith.hasPair(about),
          options: [["all", t("attention.filter.all")], ["aa", "A → A"], ["ab", "A → B"], ["ba", "B → A"], ["bb", "B → B"]] }),
        bertsmith.choice({ key: "measure", label: t("attention.measure"), shown: on("summary"),
          options: MEASURES.map((measure) => [measure, t(`measure.${measure}`)]) }),
        bertsmith.choice({ key: "target", label: t("attention.target"), shown: () => part() === "off" && targets.length > 1,
          options: targets.map((target) => [target, t(`target.${target}`)]) }),
      ];
    },
    draw: (context) => PARTS[part()](context),
  };
})(window.bertsmith);
