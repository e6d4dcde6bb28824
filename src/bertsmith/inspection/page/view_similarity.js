// Similarity: how near the vectors of tokens are at each layer, and how a word's vector takes in its context.
"use strict";
(function (bertsmith) {
  const { html, state, t, number, range } = bertsmith;

  const part = () => state.oneOf("similarity", bertsmith.partsHeld(PARTS));
  const depthOf = (model) => state.integer("depth", model.n_layers, 0, model.n_layers);
  const depthName = (depth) => (depth === 0 ? t("similarity.embeddings") : String(depth));
  const lines = (text) => text.split("\n").filter((line) => line.trim());

  async function map(context) {
    const layer = depthOf(context.model);
    const apart = context.pair && state.get("apart") === "1";
    const answer = await context.ask("similarity", { layer, apart });
    const names = bertsmith.blockNames(answer, answer.tokens);
    const title = t("similarity.map", { layer: depthName(layer) });
    const picture = bertsmith.heatmap({
      values: answer.cosines, rows: names, columns: names, colour: bertsmith.palette.split(1), width: context.width, label: title,
      describe: (i, j) => `${names[i]} · ${names[j]}: ${number(answer.cosines[i][j], 4)}`,
    });
    return [bertsmith.figure({ title, name: "similarity", wide: true, picture, readout: picture.readout,
      note: [t("similarity.mean", { mean: number(answer.mean) }), bertsmith.reduced(answer)].filter(Boolean).join(" "),
      numbers: () => bertsmith.matrixNumbers(names, names, answer.cosines) })];
  }

  /** The first example in the language of the text that the page was started with. */
  function fitting({ examples, start }) {
    const language = /\p{Script=Han}/u.test(start.text) ? "zh" : "en";
    return Math.max(examples.context.findIndex((one) => one.language === language), 0);
  }

  /** The word and its texts: an example of the page, or the reader's own. */
  function contextChosen(about) {
    const examples = about.examples.context;
    const chosen = state.integer("example", fitting(about), 0, examples.length);
    if (chosen < examples.length) return examples[chosen];
    return { word: state.get("word").trim(), texts: lines(state.get("texts")), senses: [] };
  }

  async function contexts(context) {
    const { word, texts, senses } = contextChosen(context.about);
    if (!word || texts.length < 2) return [bertsmith.notice(t("similarity.two"))];
    const answer = await context.askOnly("context", { word, texts });
    const depth = depthOf(context.model);
    const names = answer.occurrences.map((one, index) => excerpt(one, senses[index]));
    const pairs = range(texts.length).flatMap((i) => range(i).map((j) => [j, i]));
    const title = t("similarity.at", { word, layer: depthName(depth) });
    const picture = bertsmith.heatmap({
      values: answer.layers[depth], rows: names, columns: names, colour: bertsmith.palette.split(1), width: context.half, most: 46,
      label: title, describe: (i, j) => `${names[i]} · ${names[j]}: ${number(answer.layers[depth][i][j], 4)}` });
    return [
      sensesFigure({ answer, pairs, senses, word, width: context.half }),
      bertsmith.figure({ title, name: "context-matrix", picture, readout: picture.readout,
        body: [html("ol", { class: "texts" }, ...answer.occurrences.map((one, index) => html("li", {}, whole(one),
          senses[index] && html("span", { class: "sense" }, " ", bertsmith.foreign(senses[index])))))],
        numbers: () => bertsmith.matrixNumbers(names, names, answer.layers[depth]) })];
  }

  const excerpt = (one, sense) => sense || Array.from(one.text).slice(Math.max(one.start - 8, 0), one.end + 8).join("");

  /** The text with the word marked in it. */
  function whole({ text, start, end }) {
    const letters = Array.from(text);
    return html("bdi", {}, letters.slice(0, start).join(""),
      html("mark", { class: "piece", text: letters.slice(start, end).join("") }),
      letters.slice(end).join(""));
  }

  /** The cosines of the pairs layer by layer: the mean of those of one sense and of those of two; each pair where no senses are known. */
  function sensesFigure({ answer, pairs, senses, word, width }) {
    const names = answer.layers.map((_, layer) => String(layer));
    const of = (chosen) => answer.layers.map((matrix) => chosen.reduce((sum, [i, j]) => sum + matrix[i][j], 0) / chosen.length);
    const same = pairs.filter(([i, j]) => senses.length && senses[i] === senses[j]);
    const other = pairs.filter(([i, j]) => senses.length && senses[i] !== senses[j]);
    const grouped = [
      same.length && { name: t("similarity.same"), values: of(same), hue: 0 },
      other.length && { name: t("similarity.other"), values: of(other), hue: 1 }].filter(Boolean);
    const single = pairs.slice(0, 10).map(([i, j], index) => ({ name: `${i + 1} · ${j + 1}`, values: of([[i, j]]), hue: index }));
    const series = [...(grouped.length ? grouped : single),
      { name: t("similarity.baseline"), values: answer.baseline, hue: 5, dashed: true }];
    const title = t("similarity.word", { word });
    const picture = bertsmith.curves({ names, series, width, label: title, xTitle: t("layer"), yTitle: t("axis.cosine"), high: 1,
      low: Math.min(0, ...series.flatMap((one) => one.values)) });
    return bertsmith.figure({ title, note: t(grouped.length ? "similarity.word.note" : "similarity.pairs.note"),
      name: "context", picture, readout: picture.readout,
      numbers: () => ({ columns: ["layer", ...pairs.map(([i, j]) => `${i + 1}-${j + 1}`), ...series.map((one) => one.name)],
        rows: names.map((name, l) => [name, ...pairs.map(([i, j]) => answer.layers[l][i][j]),
          ...series.map((one) => one.values[l])]) }) });
  }

  async function projection(context) {
    const own = state.get("which", "own") === "own";
    const { text, pair } = context.texts;
    const texts = own ? [text, pair].filter((one) => one !== undefined) : context.about.examples.sentences.slice(0, 16);
    const answer = await context.askOnly("projection", { texts });
    const depth = depthOf(context.model);
    const byWord = state.get("colour") === "word";
    const groups = new Map();
    const hue = (token) => {
      const group = byWord ? token.token.toLowerCase() : token.text;
      if (!groups.has(group)) groups.set(group, groups.size);
      return groups.get(group);
    };
    const points = answer.points[depth].map(([x, y], index) => {
      const token = answer.tokens[index];
      return { x, y, name: token.token, hue: hue(token), said: `${texts[token.text]} (${number(x)}, ${number(y)})`,
        faint: token.is_special };
    });
    const axis = (index) => t("similarity.axis", { n: index + 1, share: bertsmith.percent(answer.explained[depth][index]) });
    const title = t("similarity.plane", { layer: depthName(depth) });
    const picture = bertsmith.scatter({ points, width: context.width, label: title, xTitle: axis(0), yTitle: axis(1) });
    return [bertsmith.figure({ title, note: t("similarity.plane.note"), name: "projection", wide: true, picture, readout: picture.readout,
      numbers: () => ({ columns: ["text", "token", "x", "y"],
        rows: points.map((one, i) => [answer.tokens[i].text, one.name, one.x, one.y]) }) })];
  }

  async function neighbours(context) {
    const sentences = source(context.about);
    if (!sentences.length) return [bertsmith.notice(t("similarity.sentences.none"))];
    const layer = depthOf(context.model);
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("neighbours", { layer, sentences })]);
    const at = bertsmith.chosenToken(tokens);
    const found = answer.neighbours[at];
    const title = t("similarity.neighbours", { token: tokens[at].token, layer: depthName(layer) });
    const names = found.map((one) => one.token);
    const picture = found.length ? bertsmith.bars({ names, series: [{ values: found.map((one) => one.cosine), hue: 0 }],
      width: context.width, label: title, high: 1,
      format: (value) => number(value) }) : null;
    return [
      bertsmith.tokenPicker(tokens, at, t("similarity.pick")),
      bertsmith.figure({ title, name: "neighbours", wide: true, picture,
        body: [html("ol", { class: "texts" }, ...found.map((one) => html("li", {},
          whole({ ...one, text: sentences[one.sentence] }))))],
        numbers: () => ({ columns: ["token", "neighbour", "cosine", "sentence"],
          rows: answer.neighbours.flatMap(
            (list, i) => list.map((one) => [tokens[i].token, one.token, one.cosine, sentences[one.sentence]])) }) })];
  }

  const source = (about) => (bertsmith.source.isExport ? about.examples.sentences
    : lines(state.get("sentences", about.examples.sentences.join("\n"))).slice(0, about.limits.sentences));

  const PARTS = { map, context: contexts, projection, neighbours };

  bertsmith.views.similarity = {
    section: "5.3",
    models: ({ model }) => [model],
    controls({ about, model }) {
      const on = (...parts) => () => parts.includes(part());
      const high = Math.max(...about.models.map((one) => one.n_layers));
      const examples = about.examples.context;
      const own = () => part() === "context" && state.integer("example", fitting(about), 0, examples.length) === examples.length;
      const depth = { key: "depth", low: 0, high, otherwise: model.n_layers };
      return [
        bertsmith.segments({ key: "similarity", label: t("similarity.tab"),
          options: bertsmith.partsHeld(PARTS).map((name) => [name, t(`similarity.part.${name}`)]) }),
        bertsmith.slider({ ...depth, label: t("layer"), format: depthName }),
        bertsmith.player({ ...depth, label: t("similarity.walk") }),
        bertsmith.toggle({ key: "apart", label: t("similarity.apart"), shown: () => part() === "map" && bertsmith.hasPair(about) }),
        bertsmith.choice({ key: "example", label: t("similarity.example"), shown: on("context"), otherwise: fitting(about),
          options: [
          ...examples.map((one, index) => [String(index), one.word]),
          ...(bertsmith.source.isExport ? [] : [[String(examples.length), t("similarity.own")]])] }),
        bertsmith.field({ key: "word", label: t("similarity.theword"), shown: own }),
        bertsmith.field({ key: "texts", label: t("similarity.texts"), lines: 4, shown: own }),
        bertsmith.choice({ key: "which", label: t("similarity.of"), shown: on("projection"),
          options: [["own", t("similarity.of.own")], ["examples", t("similarity.of.examples")]] }),
        bertsmith.choice({ key: "colour", label: t("similarity.colour"), shown: on("projection"),
          options: [["text", t("similarity.colour.text")], ["word", t("similarity.colour.word")]] }),
        bertsmith.field({ key: "sentences", label: t("similarity.sentences"), lines: 4,
          otherwise: about.examples.sentences.join("\n"),
          shown: () => part() === "neighbours" && !bertsmith.source.isExport }),
      ];
    },
    draw: (context) => PARTS[part()](context),
  };
})(window.bertsmith);
