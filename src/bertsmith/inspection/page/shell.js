// The page around the views: languages, theme, model and text, tabs, and the drawing of what the state says.
"use strict";
(function (bertsmith) {
  const { html, state, source, t } = bertsmith;
  const PAPER = "https://arxiv.org/abs/1810.04805";
  const NAMES = ["input", "attention", "similarity", "prediction", "tuned", "compare", "film"];
  let about = null;
  let controls = [];
  let panels = [];
  let drawing = new AbortController();
  let main = null;
  let progress = null;
  let timer = 0;
  // What puts back, into each new panel, what the one before it had.
  let kept = [];

  const view = () => bertsmith.views[viewName()];
  const viewName = () => state.oneOf("view", NAMES);

  // The theme and the language are those of the address, else those of the browser.
  function dress() {
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = state.get("theme", dark ? "dark" : "light") === "dark" ? "dark" : "light";
    document.documentElement.lang = bertsmith.language() === "zh" ? "zh-CN" : "en";
    document.title = `${t("title")} · bertsmith`;
  }

  function header() {
    const other = bertsmith.language() === "zh" ? "en" : "zh";
    const dark = document.documentElement.dataset.theme === "dark";
    return html("header", { class: "bar" },
      html("h1", {}, html("span", { class: "brand", text: "bertsmith" }), html("span", { class: "slogan", text: t("title") })),
      html("div", { class: "switches" },
        html("button", { type: "button", class: "switch", lang: other === "zh" ? "zh-CN" : "en", "data-key": "language",
          text: other === "zh" ? "中文" : "English", onclick: () => state.set({ lang: other }) }),
        html("button", { type: "button", class: "switch", "data-key": "theme", text: t(dark ? "theme.light" : "theme.dark"),
          onclick: () => state.set({ theme: dark ? "light" : "dark" }) })));
  }

  function model() {
    const models = about.models.filter((one) => one.role === "model");
    return models.find((one) => one.id === state.get("model")) || models[0];
  }

  function facts(one) {
    const millions = bertsmith.number(one.n_parameters / 1e6, one.n_parameters < 1e7 ? 2 : 1);
    return t("facts", { layers: one.n_layers, heads: one.n_heads, width: one.width, words: one.vocabulary_size.toLocaleString("en"),
      millions });
  }

  function asking() {
    const models = about.models.filter((one) => one.role === "model");
    const fields = [
      bertsmith.field({ key: "text", label: t("text"), lines: 2, otherwise: about.start.text, hint: t("text.hint") }),
      bertsmith.field({ key: "pair", label: t("pair"), lines: 2, otherwise: about.start.pair || "", hint: t("pair.hint") }),
    ];
    if (models.length > 1) {
      fields.unshift(bertsmith.choice({ key: "model", label: t("model"), options: models.map((one) => [one.id, one.name]) }));
    }
    for (const { element } of fields) {
      const input = element.querySelector("textarea");
      if (input && source.isExport) input.readOnly = true;
    }
    controls.push(...fields);
    return html("section", { class: "ask card", "aria-label": t("text") },
      html("div", { class: "fields" }, ...fields.map((one) => one.element)),
      html("p", { class: "facts" }, html("bdi", { class: "model-name", text: model().name }), ` · ${facts(model())}`),
      source.isExport && html("p", { class: "facts", text: t("exported") }));
  }

  function tabs() {
    const nodes = NAMES.map((name) => html("button", {
      type: "button", role: "tab", id: `tab-${name}`, "data-key": `tab-${name}`, text: t(`${name}.tab`),
      "aria-selected": String(name === viewName()), "aria-controls": "view", tabindex: name === viewName() ? "0" : "-1",
      onclick: () => state.set({ view: name === NAMES[0] ? null : name }),
    }));
    const row = html("div", { class: "tabs", role: "tablist", "aria-label": t("views") }, ...nodes);
    row.addEventListener("keydown", (event) => bertsmith.walk(event, nodes));
    return html("nav", {}, row);
  }

  function lead() {
    const section = view().section;
    return html("div", { class: "lead" }, html("h2", { text: t(`${viewName()}.tab`) }),
      html("p", {}, t(`${viewName()}.lead`), " ",
        html("a", { href: PAPER, target: "_blank", rel: "noopener noreferrer", text: t("paper", { section }) })));
  }

  /** Build the page anew: after a change of view, language, theme or model. */
  function build() {
    const refocus = bertsmith.keepFocus(document);
    kept = main && main.dataset.view === viewName() ? panels.map(bertsmith.keep) : [];
    dress();
    controls = [];
    const ask = asking();
    const own = view().controls({ about, model: model() });
    controls.push(...own);
    panels = view().models({ about, model: model() }).map(() => html("div", { class: "panel" }));
    main = html("main", { id: "view", role: "tabpanel", "aria-labelledby": `tab-${viewName()}`, "data-view": viewName() }, lead(),
      html("div", { class: "controls" }, ...own.map((one) => one.element)),
      html("div", { class: panels.length > 1 ? "panels two" : "panels" }, ...panels));
    for (const control of controls) control.sync();
    progress = bertsmith.progress(stop);
    document.getElementById("page").replaceChildren(header(), ask, tabs(), main, progress.element);
    refocus(document);
    draw();
  }

  function contextOf(one, panel, signal) {
    const pair = state.get("pair", about.start.pair || "");
    const texts = { model: one.id, text: state.get("text", about.start.text), ...(pair.trim() ? { pair } : {}) };
    return {
      about, model: one, texts, pair: "pair" in texts, signal, ...widths(panel),
      /** The answer to a view's request about the texts, with what is given besides. */
      ask: (name, fields = {}) => reply(one, name, { ...texts, ...fields }, signal),
      /** The same without the texts above. */
      askOnly: (name, fields) => reply(one, name, { model: one.id, ...fields }, signal),
    };
  }

  const ROOMY = 1000;

  /** How wide pictures can be in a card over the whole panel, and in one of two beside each other. */
  function widths(panel) {
    const roomy = panel.clientWidth >= ROOMY;
    panel.classList.toggle("roomy", roomy);
    const padding = window.innerWidth > 760 ? 50 : 38;
    const width = Math.max(panel.clientWidth - padding, 240);
    return { width, half: roomy ? (panel.clientWidth - 18) / 2 - padding : width };
  }

  async function reply(one, name, fields, signal) {
    const lack = one.missing[name];
    if (lack) throw bertsmith.refusal(lack.code, lack.message);
    if ("text" in fields && !fields.text.trim()) throw bertsmith.refusal("empty_text");
    return source.ask(name, fields, signal);
  }

  /** Draw all panels; what an earlier drawing still waits for is dropped. */
  function draw() {
    drawing.abort();
    drawing = new AbortController();
    const { signal } = drawing;
    for (const control of controls) control.sync();
    const models = view().models({ about, model: model() });
    const drawn = panels.map((panel, index) => drawPanel(panel, models[index], models.length > 1, signal, kept[index]));
    progress.follow(signal, Promise.all(drawn));
  }

  /** Draw when ``wait`` milliseconds have passed without another change. */
  function drawSoon(wait) {
    for (const panel of panels) panel.setAttribute("aria-busy", "true");
    timer = setTimeout(draw, wait);
  }

  /** Wait no longer for what is slow to come. */
  function stop() {
    drawing.abort();
    for (const panel of panels.filter((one) => one.hasAttribute("aria-busy"))) {
      panel.replaceChildren(html("div", { class: "card notice wide", role: "note" }, html("p", { text: t("progress.stopped") }),
        html("p", {}, html("button", { type: "button", class: "plain", text: t("progress.again"), onclick: draw }))));
      panel.removeAttribute("aria-busy");
    }
  }

  async function drawPanel(panel, one, named, signal, before) {
    panel.setAttribute("aria-busy", "true");
    const context = contextOf(one, panel, signal);
    const figures = await view().draw(context).then((list) => Promise.allSettled(list),
      (reason) => [{ status: "rejected", reason }]);
    if (signal.aborted) return;
    const putBack = panel.childElementCount ? bertsmith.keep(panel) : before || (() => {});
    panel.replaceChildren(
      ...(named ? [html("h3", { class: "whose" }, bertsmith.foreign(one.name))] : []),
      ...figures.map((figure) => (figure.status === "fulfilled" ? figure.value : refusal(figure.reason))).filter(Boolean));
    putBack(panel);
    panel.removeAttribute("aria-busy");
  }

  function refusal(error) {
    if (!error.code || typeof error.code !== "string") console.error(error);
    return bertsmith.notice(bertsmith.explain(error));
  }

  const WHOLE = ["view", "lang", "theme", "model", "other", "compare", "film"];

  async function start() {
    dress();
    try {
      about = await source.models();
    } catch (error) {
      document.getElementById("page").replaceChildren(header(), bertsmith.notice(bertsmith.explain(error)));
      return;
    }
    // A file holds the answers about one text.
    if (source.isExport) state.forget("text", "pair");
    state.listen((now, before, wait) => {
      clearTimeout(timer);
      if (WHOLE.some((name) => now[name] !== before[name])) build();
      else if (wait) drawSoon(wait);
      else draw();
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
    let width = window.innerWidth;
    window.addEventListener("resize", bertsmith.debounce(() => {
      if (window.innerWidth !== width) draw();
      width = window.innerWidth;
    }, 150));
    build();
  }

  document.addEventListener("DOMContentLoaded", start);
})(window.bertsmith);
