// What views are made of: figures with their buttons, rows of tokens, controls bound to the state.
"use strict";
(function (bertsmith) {
  const { html, state, t } = bertsmith;

  /**
   * A card: a title, a sentence, the picture or any elements, and the buttons that save it.
   * ``name`` is the file's name; ``numbers()`` gives {columns, rows}.
   */
  bertsmith.figure = function ({ title, note, name, picture, body = [], readout, numbers, wide = false }) {
    return html("figure", { class: wide ? "card wide" : "card", "data-figure": name },
      html("figcaption", {}, html("h3", { text: title }), note && html("p", { text: note })),
      ...body,
      picture && html("div", { class: "scroll" }, picture.element),
      readout && readout.element,
      numbers && bertsmith.saveButtons(name, picture, numbers));
  };

  /** A card that says what the model or the file lacks. */
  bertsmith.notice = (text, title = null) =>
    html("div", { class: "card notice wide", role: "note" }, title && html("h3", { text: title }), html("p", { text }));

  /** Names of the rows of a matrix over tokens; where it was reduced to blocks, each is called by its first token. */
  bertsmith.blockNames = ({ edges }, tokens) => edges.slice(0, -1).map((start, index) =>
    tokens[start].token + (edges[index + 1] - start > 1 ? " …" : ""));

  /** The sentence that says how a matrix was reduced; empty where it was not. */
  bertsmith.reduced = ({ reduction, shown, of }) => (reduction === "none" ? "" : t(`reduced.${reduction}`, { shown, of }));

  /** The position of the token that the state has chosen; the first word's where it has chosen none or a special one. */
  bertsmith.chosenToken = function (tokens) {
    const words = tokens.filter((token) => !token.is_special);
    if (!words.length) throw bertsmith.refusal("no_tokens");
    const at = state.integer("at", words[0].position, 0, tokens.length - 1);
    return tokens[at].is_special ? words[0].position : at;
  };

  /** Whether the address, or the page as it was started, has a second text. */
  bertsmith.hasPair = (about) => state.get("pair", about.start.pair || "").trim() !== "";

  /** The tokens in a row, one of them chosen: by mouse, or by arrow keys and Enter; special ones only with ``special``. */
  bertsmith.tokenPicker = function (tokens, at, label, key = "at", special = false) {
    const nodes = tokens.map((token, index) => html("button", {
      type: "button", class: token.is_special && !special ? "token special" : "token", "data-key": `${key}-${index}`,
      "aria-pressed": String(index === at), tabindex: index === at ? "0" : "-1",
      onclick: () => (special || !token.is_special) && state.set({ [key]: index }),
    }, bertsmith.foreign(token.token)));
    const row = html("div", { class: "strip", role: "toolbar", "aria-label": label }, ...nodes);
    row.addEventListener("keydown", (event) => walk(event, nodes));
    return html("div", { class: "card wide" }, html("p", { text: label }), row);
  };

  /** The matrix as {columns, rows} with its names. */
  bertsmith.matrixNumbers = (rowNames, columnNames, values) => ({
    columns: ["", ...columnNames], rows: values.map((row, index) => [rowNames[index], ...row]),
  });

  /** Arrow keys, Home and End move the focus along the nodes. */
  function walk(event, nodes) {
    const at = nodes.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0,
      End: nodes.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = nodes[bertsmith.clamp(to, 0, nodes.length - 1)];
    nodes[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
  bertsmith.walk = walk;

  // Milliseconds of quiet before something is asked for, while a slider is dragged and while a text is typed.
  const [DRAGGED, TYPED] = [30, 120];

  // Controls: each has an element, and sync() that shows the state's value. ``shown()`` hides it where it means nothing.

  function control(element, sync, shown = () => true) {
    return { element, sync() { element.hidden = !shown(); sync(); } };
  }

  /** A slider over whole numbers; ``format(value)`` is the word beside it. */
  bertsmith.slider = function ({ key, label, low, high, otherwise, format = String, shown, play = false }) {
    const value = () => state.integer(key, otherwise, low, high);
    const output = html("output", {});
    const input = html("input", {
      type: "range", min: low, max: high, step: 1, "aria-label": label, "data-key": key,
      oninput: () => { output.textContent = format(Number(input.value)); state.set({ [key]: input.value }, DRAGGED); },
    });
    const element = html("label", { class: "control" }, html("span", { class: "name" }, label, " ", output), input);
    return control(element, () => {
      input.value = value();
      output.textContent = format(value());
      input.setAttribute("aria-valuetext", format(value()));
    }, shown);
  };

  /**
   * A button that walks a slider's value through its range, one step a beat, and stops at the end or when pressed again. It
   * waits for what is slow to be drawn.
   */
  bertsmith.player = function ({ key, low, high, otherwise, label, shown, beat = 900 }) {
    let timer = 0;
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      button.setAttribute("aria-pressed", "false");
      button.textContent = "▶ " + label;
    };
    const step = () => {
      const value = state.integer(key, otherwise, low, high);
      if (value >= high || !button.isConnected) return stop();
      if (document.querySelector(".panel[aria-busy]")) return undefined;
      return state.set({ [key]: value + 1 }, DRAGGED);
    };
    const button = html("button", {
      type: "button", class: "play", "aria-pressed": "false", text: "▶ " + label, "data-key": `play-${key}`,
      onclick: () => {
        if (timer) return stop();
        if (state.integer(key, otherwise, low, high) >= high) state.set({ [key]: low });
        timer = setInterval(step, beat);
        button.setAttribute("aria-pressed", "true");
        button.textContent = "■ " + label;
        return undefined;
      },
    });
    return control(html("div", { class: "control" }, button), () => {}, shown);
  };

  /** One of few, as a drop-down; ``options`` are [value, text]. The first is what holds when the address has none. */
  bertsmith.choice = function ({ key, label, options, shown, otherwise = options.length ? options[0][0] : "" }) {
    const select = html("select", {
      "aria-label": label, "data-key": key,
      onchange: () => state.set({ [key]: select.value === String(otherwise) ? null : select.value }),
    }, ...options.map(([value, text]) => html("option", { value, text })));
    const element = html("label", { class: "control" }, html("span", { class: "name", text: label }), select);
    return control(element, () => { select.value = state.get(key, String(otherwise)); }, shown);
  };

  /** The names of a view's parts that can be shown: of a film, a file holds the first of each view. */
  bertsmith.partsHeld = (parts) =>
    Object.keys(parts).slice(0, bertsmith.source.isExport && state.get("view") === "film" ? 1 : undefined);

  /** One of few, all of them in sight; none where there is no choice. The first is what holds when the address has none. */
  bertsmith.segments = function ({ key, label, options, shown = () => options.length > 1 }) {
    const value = () => state.oneOf(key, options.map(([one]) => one));
    const nodes = options.map(([one, text]) => html("button", {
      type: "button", role: "radio", text, "data-key": `${key}-${one}`, "data-value": one,
      onclick: () => state.set({ [key]: one === options[0][0] ? null : one }),
    }));
    const row = html("div", { class: "segments", role: "radiogroup", "aria-label": label }, ...nodes);
    row.addEventListener("keydown", (event) => walk(event, nodes));
    return control(html("div", { class: "line" }, row), () => nodes.forEach((node) => {
      const on = node.dataset.value === value();
      node.setAttribute("aria-checked", String(on));
      node.tabIndex = on ? 0 : -1;
    }), shown);
  };

  /** Yes or no; "1" in the address. */
  bertsmith.toggle = function ({ key, label, shown }) {
    const input = html("input", { type: "checkbox", "data-key": key,
      onchange: () => state.set({ [key]: input.checked ? 1 : null }) });
    const element = html("label", { class: "control check" }, input, html("span", { text: label }));
    return control(element, () => { input.checked = state.get(key) === "1"; }, shown);
  };

  /** A line or lines of text. */
  bertsmith.field = function ({ key, label, lines = 1, hint = "", otherwise = "", shown, kind = "text" }) {
    // What is not yet a word, such as pinyin, is left to whoever writes it.
    let isComposing = false;
    const typed = () => {
      if (!isComposing) state.set({ [key]: input.value === otherwise ? null : input.value }, TYPED);
    };
    const properties = {
      "aria-label": label, "data-key": key, placeholder: hint, dir: "auto", spellcheck: "false", oninput: typed,
      oncompositionstart: () => { isComposing = true; },
      oncompositionend: () => { isComposing = false; typed(); },
    };
    const input = lines > 1 ? html("textarea", { rows: lines, ...properties }) : html("input", { type: kind, ...properties });
    const element = html("label", { class: lines > 1 ? "control tall" : "control" },
      html("span", { class: "name", text: label }), input);
    return control(element, () => {
      if (!isComposing && input.value !== state.get(key, otherwise)) input.value = state.get(key, otherwise);
    }, shown);
  };
})(window.bertsmith);
