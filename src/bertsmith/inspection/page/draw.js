// Pictures: a canvas for what is many, an SVG above it for lines and letters. Both are saved together (save.js).
"use strict";
(function (bertsmith) {
  const { svg, html, range } = bertsmith;
  const FONT = 'system-ui, -apple-system, "Segoe UI", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif';
  const ruler = document.createElement("canvas").getContext("2d");

  bertsmith.textWidth = function (text, size = 12) {
    ruler.font = `${size}px ${FONT}`;
    return ruler.measureText(text).width;
  };

  /** The text, cut to fit into ``width`` pixels. */
  bertsmith.fitted = function (text, width, size = 12) {
    if (bertsmith.textWidth(text, size) <= width) return text;
    const letters = [...text];
    while (letters.length > 1 && bertsmith.textWidth(letters.join("") + "…", size) > width) letters.pop();
    return letters.join("") + "…";
  };

  /** An empty picture of the size; with ``canvas``, one to paint on lies behind the SVG. */
  bertsmith.picture = function (width, height, label, withCanvas = false) {
    const [w, h] = [Math.ceil(width), Math.ceil(height)];
    const root = svg("svg", {
      viewBox: `0 0 ${w} ${h}`, width: w, height: h, role: "img", "aria-label": label, "font-family": FONT, "font-size": 12,
    });
    const element = html("div", { class: "picture" });
    element.style.width = `${w}px`;
    element.style.height = `${h}px`;
    let canvas = null;
    if (withCanvas) {
      const density = Math.min(window.devicePixelRatio || 1, 2, 8192 / Math.max(w, h));
      canvas = html("canvas", { width: w * density, height: h * density, "aria-hidden": "true" });
      canvas.getContext("2d").scale(canvas.width / w, canvas.height / h);
      element.append(canvas);
    }
    element.append(root);
    return { element, svg: root, canvas, width: w, height: h };
  };

  bertsmith.letters = (text, x, y, properties = {}) =>
    svg("text", { x, y, fill: bertsmith.palette.now().quiet, text, ...properties });

  /**
   * A grid of cells with names at the left and on top, a frame on the cell that the mouse or the arrow keys are on, and a line
   * that says what ``describe(row, column)`` does of it; ``pick(row, column)`` is a click or Enter. ``paint(brush, left, top,
   * cell, high)`` fills it; the cells of ``marks`` are crossed out; ``scale`` is the colours' meaning, shown below. Cells are square,
   * or ``tall`` pixels high where that is more.
   */
  bertsmith.cells = function ({ rows, columns, width, label, describe, pick, paint, most = 30, least = 2, tall = 0, marks = [],
    scale = null }) {
    const colours = bertsmith.palette.now();
    const [side, top] = [rows, columns].map((names) => Math.min(110,
      10 + Math.max(...names.map((name) => bertsmith.textWidth(name)))));
    const cell = bertsmith.clamp((width - side - 2) / columns.length, least, most);
    const high = Math.max(cell, tall);
    const breadth = side + Math.max(cell * columns.length, scale ? 260 : 0) + 2;
    const picture = bertsmith.picture(Math.min(breadth, Math.max(width, side + cell * columns.length + 2)),
      top + high * rows.length + 2 + (scale ? 34 : 0), label, true);
    if (scale) picture.svg.append(...legend(scale, side, top + high * rows.length + 14));
    paint(picture.canvas.getContext("2d"), side, top, cell, high);

    const [every, everyRow] = [cell, high].map((size) => Math.ceil(13 / size));
    rows.forEach((name, r) => r % everyRow === 0 && picture.svg.append(bertsmith.letters(
      bertsmith.fitted(name, side - 8), side - 6, top + high * (r + 0.5) + 4, { "text-anchor": "end" })));
    const turned = columns.some((name) => bertsmith.textWidth(name) > cell - 4);
    columns.forEach((name, c) => {
      if (c % every !== 0) return;
      const [x, y] = [side + cell * (c + 0.5) + 4, top - 6];
      picture.svg.append(bertsmith.letters(bertsmith.fitted(name, top - 8), turned ? x : x - 4, y,
        turned ? { transform: `rotate(-90 ${x} ${y})` } : { "text-anchor": "middle" }));
    });
    for (const [r, c] of marks) {
      const [x, y] = [side + c * cell, top + r * high];
      picture.svg.append(svg("path", { d: `M${x},${y}l${cell},${high}m0,${-high}l${-cell},${high}`,
        stroke: bertsmith.palette.hue(1),
        "stroke-width": 3 }));
    }
    const frame = svg("rect", { width: cell, height: high, fill: "none", stroke: colours.ink, "stroke-width": 2, opacity: 0 });
    picture.svg.append(frame);

    const readout = bertsmith.readout(bertsmith.t("point"));
    let place = [0, 0];
    function show(row, column) {
      place = [bertsmith.clamp(row, 0, rows.length - 1), bertsmith.clamp(column, 0, columns.length - 1)];
      frame.setAttribute("x", side + cell * place[1]);
      frame.setAttribute("y", top + high * place[0]);
      frame.setAttribute("opacity", 1);
      readout.say(describe(...place));
    }
    const { element } = picture;
    const under = (event) => {
      const box = element.getBoundingClientRect();
      const [row, column] = [(event.clientY - box.top - top) / high, (event.clientX - box.left - side) / cell].map(Math.floor);
      return row >= 0 && row < rows.length && column >= 0 && column < columns.length ? [row, column] : null;
    };
    element.addEventListener("mousemove", (event) => under(event) && show(...under(event)));
    element.addEventListener("click", (event) => {
      const found = under(event);
      if (found) show(...found);
      if (found && pick) pick(...found);
    });
    bertsmith.arrows(element, label, {
      ArrowUp: () => show(place[0] - 1, place[1]), ArrowDown: () => show(place[0] + 1, place[1]),
      ArrowLeft: () => show(place[0], place[1] - 1), ArrowRight: () => show(place[0], place[1] + 1),
      Enter: () => pick && pick(...place),
    });
    if (pick) element.classList.add("pickable");
    element.place = () => (frame.getAttribute("opacity") === "1" ? place : null);
    element.resume = (at) => show(...at);
    return { ...picture, readout };
  };

  /** What the colours of a scale mean. */
  function legend(colour, x, y) {
    const [steps, width] = [40, 120];
    const low = bertsmith.letters(bertsmith.number(colour.low, 2), x, y + 10);
    const start = x + bertsmith.textWidth(low.textContent) + 8;
    return [low, ...range(steps).map((step) => svg("rect", {
      x: start + (step * width) / steps, y, width: width / steps + 0.5, height: 11,
      "shape-rendering": "crispEdges",
      fill: bertsmith.palette.css(colour(colour.low + ((colour.high - colour.low) * step) / (steps - 1))) })),
    svg("rect", { x: start, y, width, height: 11, fill: "none", stroke: bertsmith.palette.now().border }),
    bertsmith.letters(bertsmith.number(colour.high, 2), start + width + 8, y + 10)];
  }

  /** Paint a matrix, one coloured pixel a value, stretched to the box; no value is grey. */
  bertsmith.paintMatrix = function (brush, values, colour, left, top, width, height) {
    const tiny = html("canvas", { width: values[0].length, height: values.length });
    const pixels = new ImageData(tiny.width, tiny.height);
    values.forEach((row, r) => row.forEach((value, c) => {
      pixels.data.set(value === null ? [128, 128, 128] : colour(value, r), 4 * (r * tiny.width + c));
      pixels.data[4 * (r * tiny.width + c) + 3] = 255;
    }));
    tiny.getContext("2d").putImageData(pixels, 0, 0);
    brush.imageSmoothingEnabled = false;
    brush.drawImage(tiny, left, top, width, height);
  };

  /** A matrix as coloured cells: ``values`` is a list of rows, ``colour(value, row)`` gives [red, green, blue]; see ``cells``. */
  bertsmith.heatmap = ({ values, colour, ...rest }) => bertsmith.cells({
    ...rest, scale: colour.low === undefined ? null : colour,
    paint: (brush, left, top, cell, high) =>
      bertsmith.paintMatrix(brush, values, colour, left, top, cell * values[0].length, high * values.length),
  });

  /** Make an element reachable by Tab and let keys act on it. */
  bertsmith.arrows = function (element, label, actions) {
    element.tabIndex = 0;
    element.setAttribute("role", "application");
    element.setAttribute("aria-label", label);
    element.addEventListener("keydown", (event) => {
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    });
  };

  /** The line below a picture that says in words what the mouse or the keys are on. */
  bertsmith.readout = function (text = "") {
    const element = html("output", { class: "readout", text: text || "\u00a0" });
    return { element, say: (words) => { element.textContent = words || "\u00a0"; } };
  };

  /** Horizontal bars: of each name one in every series {values, hue, name}; ``marked`` names stand out. */
  bertsmith.bars = function ({ names, series, width, label, high = null, format = bertsmith.percent, marked = [] }) {
    const colours = bertsmith.palette.now();
    const w = Math.min(width, 720);
    const side = Math.min(w * 0.4, 12 + 1.1 * Math.max(...names.map((name) => bertsmith.textWidth(name, 13))));
    const most = high === null ? Math.max(...series.flatMap(({ values }) => values.map(Math.abs)), 1e-12) : high;
    const [bar, top] = [series.length > 1 ? 15 : 18, series.length > 1 ? 26 : 0];
    const line = bar * series.length + 8;
    const picture = bertsmith.picture(w, top + line * names.length + 4, label);
    if (series.length > 1) {
      series.forEach(({ name, hue }, index) => picture.svg.append(
        svg("rect", { x: side + index * 150, y: 3, width: 12, height: 12, rx: 3, fill: bertsmith.palette.hue(hue) }),
        bertsmith.letters(name, side + index * 150 + 18, 14)));
    }
    names.forEach((name, index) => {
      const y = top + index * line + 4;
      const strong = marked.includes(index);
      picture.svg.append(bertsmith.letters(bertsmith.fitted(name, (side - 10) / (strong ? 1.1 : 1), 13), side - 8,
        y + (line - 8) / 2 + 5,
        { "text-anchor": "end", "font-size": 13, fill: colours.ink, "font-weight": strong ? 700 : 400 }));
      series.forEach(({ values, hue }, which) => {
        const [value, place] = [values[index], y + which * bar];
        const length = Math.max((Math.abs(value) / most) * (w - side - 78), 1);
        picture.svg.append(
          svg("rect", { x: side, y: place, width: length, height: bar - (series.length > 1 ? 2 : 0), rx: 3,
            fill: bertsmith.palette.hue(value < 0 ? 1 : hue), opacity: strong ? 1 : 0.78 }),
          bertsmith.letters(format(value), side + length + 6, place + bar / 2 + 4, { class: "value" }));
      });
    });
    return picture;
  };

  /**
   * Tokens in a row, broken into lines: ``fills[i]`` is [red, green, blue], ``strokes[i]`` a colour of its frame, ``below[i]`` a
   * word under it and ``titles[i]`` what the mouse finds.
   */
  bertsmith.tokenPicture = function ({ tokens, width, label, fills = [], strokes = [], below = [], titles = [] }) {
    const colours = bertsmith.palette.now();
    const [tall, gap, size] = [30, 6, 14];
    const line = tall + (below.length ? 24 : 8);
    const sizes = tokens.map((token, i) => Math.min(width,
      18 + Math.max(bertsmith.textWidth(token, size), bertsmith.textWidth(below[i] || "", 11))));
    let [x, y] = [1, 1];
    const places = sizes.map((wide) => {
      if (x + wide > width) [x, y] = [1, y + line];
      x += wide + gap;
      return [x - wide - gap, y];
    });
    const picture = bertsmith.picture(width, y + line, label);
    tokens.forEach((token, i) => {
      const [left, top] = places[i];
      const middle = left + sizes[i] / 2;
      picture.svg.append(svg("g", {}, titles[i] && svg("title", { text: titles[i] }),
        svg("rect", { x: left, y: top, width: sizes[i] - 2, height: tall, rx: 6, "stroke-width": strokes[i] ? 2 : 1,
          fill: fills[i] ? bertsmith.palette.css(fills[i]) : colours.paper, stroke: strokes[i] || colours.border }),
        bertsmith.letters(bertsmith.fitted(token, sizes[i] - 10, size), middle - 1, top + 20,
          { "text-anchor": "middle", "font-size": size,
          fill: fills[i] ? bertsmith.palette.inkOn(fills[i]) : colours.ink }),
        below[i] && bertsmith.letters(below[i], middle - 1, top + tall + 14, { "text-anchor": "middle", "font-size": 11 })));
    });
    return picture;
  };
})(window.bertsmith);
