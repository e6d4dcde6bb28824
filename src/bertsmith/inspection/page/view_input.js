// Input: the text in pieces, and the three embeddings of each, as in the paper's Figure 2.
"use strict";
(function (bertsmith) {
  const { html, svg, t, number } = bertsmith;
  const ROWS = ["token", "segment", "position"];
  const [BOX, STEP, GAP] = [26, 38, 34];

  const kind = (token) => (token.is_unknown ? "unknown" : token.is_special ? "special" : token.is_continuation ? "continued" : "");
  const hueOf = (row, token) => ({ token: 0, segment: token.segment === 0 ? 2 : 1, position: 3 })[row];
  const nameOf = (row, token) => ({ token: token.token, segment: "AB"[token.segment], position: String(token.position) })[row];

  /** The layout of the paper's Figure 2, broken into lines where the page ends. */
  function figureTwo(answer, width) {
    const colours = bertsmith.palette.now();
    const side = Math.min(96, 12 + Math.max(...ROWS.map((row) => bertsmith.textWidth(t(`input.${row}`)))));
    const sizes = answer.tokens.map((token) => bertsmith.clamp(bertsmith.textWidth(token.token, 13) + 30, 50, 150));
    const places = [];
    let [x, line] = [side, 0];
    for (const size of sizes) {
      if (x + size > width && x > side) [x, line] = [side, line + 1];
      places.push([x, line]);
      x += size;
    }
    const tall = STEP * 4 + GAP;
    const picture = bertsmith.picture(width, tall * (line + 1) - GAP + 4, t("input.figure"));
    for (let row = 0; row <= line; row += 1) {
      ROWS.forEach((name, index) => picture.svg.append(bertsmith.letters(
        t(`input.${name}`), side - 10, row * tall + STEP * (index + 1) + 18, { "text-anchor": "end" })));
    }
    answer.tokens.forEach((token, index) => {
      const [left, top, size] = [places[index][0], places[index][1] * tall, sizes[index] - 6];
      const middle = left + size / 2;
      picture.svg.append(
        bertsmith.letters(bertsmith.fitted(token.token, size, 13), middle, top + 18, {
          "text-anchor": "middle", "font-size": 13, "font-weight": token.is_special ? 400 : 600,
          fill: token.is_unknown ? bertsmith.palette.hue(1) : colours.ink }));
      ROWS.forEach((row, at) => {
        const y = top + STEP * (at + 1);
        const hue = bertsmith.palette.hue(hueOf(row, token));
        picture.svg.append(
          svg("rect", { x: left, y, width: size, height: BOX, rx: 5, fill: hue, "fill-opacity": 0.14, stroke: hue,
            "stroke-dasharray": row === "token" && token.is_unknown ? "4 3" : null },
          svg("title", { text: `${t(`input.${row}`)}: ${t("input.norm")} ${number(answer.norms[row][index])}` })),
          subscripted(bertsmith.fitted(nameOf(row, token), size - 18, 10), middle, y + 17));
        if (at < 2) picture.svg.append(bertsmith.letters("+", middle, y + BOX + 10, { "text-anchor": "middle", "font-size": 11 }));
      });
    });
    return picture;
  }

  const subscripted = (text, x, y) => svg("text",
    { x, y, "text-anchor": "middle", fill: bertsmith.palette.now().ink, "font-size": 12 },
    svg("tspan", { text: "E", "font-style": "italic" }), svg("tspan", { text, dy: 4, "font-size": 10 }));

  /** The text as it stands, with a mark around each piece. */
  function marked(text, tokens) {
    const letters = Array.from(text);
    const nodes = [];
    let place = 0;
    for (const token of tokens) {
      if (token.is_special) continue;
      if (token.start > place) nodes.push(letters.slice(place, token.start).join(""));
      nodes.push(html("mark", { class: `piece ${kind(token)} ${token.word % 2 ? "odd" : ""}`,
        title: `${token.token} · ${t("input.characters")} ${token.start}–${token.end}`,
        text: letters.slice(Math.max(token.start, place), token.end).join("") }));
      place = Math.max(token.end, place);
    }
    if (place < letters.length) nodes.push(html("span", { class: "unread", text: letters.slice(place).join("") }));
    return html("p", { class: "marked", dir: "auto" }, ...nodes);
  }

  const columns = () => ["position", "token", "id", "segment", "word", "start", "end",
    "kind"].map((name) => t(`input.column.${name}`));
  const rows = (tokens) => tokens.map((token) => [token.position, token.token, token.id, "AB"[token.segment],
    token.word === null ? "" : token.word, token.start, token.end, kind(token) && t(`input.kind.${kind(token)}`)]);

  function pieces(answer) {
    const table = html("table", {},
      html("thead", {}, html("tr", {}, ...columns().map((text) => html("th", { scope: "col", text })))),
      html("tbody", {}, ...rows(answer.tokens).map((row, index) => html("tr", { class: kind(answer.tokens[index]) },
        ...row.map((value) => html("td", {}, bertsmith.foreign(String(value))))))));
    const unknown = answer.tokens.filter((token) => token.is_unknown).length;
    const cut = answer.of > answer.shown ? t("input.cut", { shown: answer.shown, of: answer.of }) : "";
    return bertsmith.figure({
      title: t("input.pieces"), name: "pieces", wide: true,
      note: [t("input.count", { n: answer.shown }), unknown ? t("input.unknown", { n: unknown }) : "",
        cut].filter(Boolean).join(" "),
      body: [
        marked(answer.text, answer.tokens.filter((token) => token.segment === 0)),
        answer.pair && marked(answer.pair, answer.tokens.filter((token) => token.segment === 1)),
        html("details", {}, html("summary", { text: t("input.table") }), html("div", { class: "scroll tall" }, table)),
      ].filter(Boolean),
      numbers: () => ({ columns: columns(), rows: rows(answer.tokens) }),
    });
  }

  function embeddings(answer, width) {
    return bertsmith.figure({
      title: t("input.figure"), note: t("input.figure.note"), name: "embeddings", wide: true, picture: figureTwo(answer, width),
      numbers: () => ({ columns: ["token", ...ROWS.map((row) => `E_${row}`)],
        rows: answer.tokens.map((token) => [token.token, ...ROWS.map((row) => nameOf(row, token))]) }),
    });
  }

  function norms(answer, width) {
    const names = answer.tokens.map((token) => token.token);
    const kinds = [...ROWS, "sum"];
    const high = Math.max(...kinds.flatMap((row) => answer.norms[row]));
    const picture = bertsmith.curves({
      names, low: 0, high: high * 1.05, width, label: t("input.norms"), xTitle: t("axis.token"), yTitle: t("axis.length"),
      series: kinds.map((row, index) => ({ name: t(`input.${row}`), values: answer.norms[row], hue: [0, 2, 3, 5][index],
        dashed: row === "sum" })),
    });
    return bertsmith.figure({
      title: t("input.norms"), note: t("input.norms.note"), name: "norms", wide: true, picture, readout: picture.readout,
      numbers: () => ({ columns: ["token", ...kinds],
        rows: names.map((name, i) => [name, ...kinds.map((row) => answer.norms[row][i])]) }),
    });
  }

  bertsmith.views.input = {
    section: "3",
    controls: () => [],
    models: ({ model }) => [model],
    async draw(context) {
      const answer = await context.ask("input");
      return [pieces, embeddings, norms].map((figure) => figure(answer, context.width));
    },
  };
})(window.bertsmith);
