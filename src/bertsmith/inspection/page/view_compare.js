// Compare: two models side by side in the other views, and how alike their layers and heads are.
"use strict";
(function (bertsmith) {
  const { state, t, number, range } = bertsmith;
  const BESIDE = ["input", "attention", "similarity", "prediction", "tuned"];

  const part = () => state.oneOf("compare", ["layers", "tokens", ...BESIDE]);
  const beside = () => (BESIDE.includes(part()) ? bertsmith.views[part()] : null);

  function otherOf({ about, model }) {
    const others = about.models.filter((one) => one.role === "model" && one.id !== model.id);
    return others.find((one) => one.id === state.get("other")) || others[0] || null;
  }

  const layers = (n) => range(n).map(String);

  async function layersView(context, other) {
    const answer = await context.askOnly("cka", { other: other.id, texts: context.about.examples.sentences });
    const [rows, columns] = [layers(answer.cka.length), layers(answer.cka[0].length)];
    const title = t("compare.cka");
    const picture = bertsmith.heatmap({
      values: answer.cka, rows, columns, colour: bertsmith.palette.ramp(0, 1), width: context.width, most: 46, label: title,
      describe: (i, j) => t("compare.cell", { one: context.model.name, i, other: other.name, j,
        value: number(answer.cka[i][j], 4) }),
    });
    return [bertsmith.figure({ title, name: "cka", wide: true, picture, readout: picture.readout,
      note: t("compare.cka.note", { one: context.model.name, other: other.name, n: answer.n_tokens }),
      numbers: () => bertsmith.matrixNumbers(rows, columns, answer.cka) })];
  }

  async function tokensView(context, other) {
    const [{ tokens }, answer] = await Promise.all([context.ask("input"), context.ask("compare", { other: other.id })]);
    return [
      answer.reason && bertsmith.notice(t(`compare.${answer.tokens === "same" ? "shapes" : "cuts"}`)),
      answer.hidden && hiddenFigure(answer.hidden, tokens.map((one) => one.token), context.width),
      answer.attention && headsFigure(answer.attention, context.width)];
  }

  function hiddenFigure(hidden, columns, width) {
    const title = t("compare.hidden");
    const rows = layers(hidden.length);
    const picture = bertsmith.heatmap({ values: hidden, rows, columns, colour: bertsmith.palette.split(1), width, label: title,
      describe: (l, i) => `${columns[i]} · ${t("layer")} ${l}: ${number(hidden[l][i], 4)}` });
    return bertsmith.figure({ title, note: t("compare.hidden.note"), name: "compare-tokens", wide: true, picture,
      readout: picture.readout,
      numbers: () => bertsmith.matrixNumbers(rows, columns, hidden) });
  }

  function headsFigure(attention, width) {
    const title = t("compare.heads");
    const rows = range(attention.length).map((l) => String(l + 1));
    const columns = range(attention[0].length).map((h) => String(h + 1));
    const picture = bertsmith.heatmap({ values: attention, rows, columns, colour: bertsmith.palette.ramp(0, 1), width, most: 46,
      label: title,
      describe: (l, h) => `${t("attention.place", { layer: l + 1, head: h + 1 })}: ${number(attention[l][h], 4)}` });
    return bertsmith.figure({ title, note: t("compare.heads.note"), name: "compare-heads", wide: true, picture,
      readout: picture.readout,
      numbers: () => bertsmith.matrixNumbers(rows, columns, attention) });
  }

  bertsmith.views.compare = {
    section: "5.2",
    models: (chosen) => (beside() && otherOf(chosen) ? [chosen.model, otherOf(chosen)] : [chosen.model]),
    controls(chosen) {
      const { about, model } = chosen;
      if (!otherOf(chosen)) return [];
      const others = about.models.filter((one) => one.role === "model" && one.id !== model.id);
      return [
        bertsmith.segments({ key: "compare", label: t("compare.tab"), options: [
          ["layers", t("compare.part.layers")], ["tokens", t("compare.part.tokens")],
            ...BESIDE.map((name) => [name, t(`${name}.tab`)])] }),
        bertsmith.choice({ key: "other", label: t("compare.other"), options: others.map((one) => [one.id, one.name]),
          shown: () => others.length > 1 }),
        ...(beside() ? beside().controls(chosen) : []),
      ];
    },
    async draw(context) {
      const other = otherOf(context);
      if (!other) throw bertsmith.refusal("no_second_model");
      if (beside()) return beside().draw(context);
      return (part() === "tokens" ? tokensView : layersView)(context, other);
    },
  };
})(window.bertsmith);
