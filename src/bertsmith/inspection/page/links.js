// Lines of attention between two columns of tokens: where a token looks, or who looks at it.
"use strict";
(function (bertsmith) {
  const { svg } = bertsmith;
  const [MOST_SVG_LINES, MOST_LINES, FAINTEST] = [1000, 8000, 0.02];

  /**
   * ``layers`` are {weights, hue}: weights[i][j] from left i to right j is the opacity. With the mouse or the arrow keys on a
   * token of a column, its lines alone are drawn, and ``focused`` is told {side, index, isPinned}, or null. A click or Enter
   * pins the token, so that it stays when the mouse goes on; another, or Escape, lets it go.
   */
  bertsmith.links = function ({ left, right, layers, width, label, focused }) {
    const colours = bertsmith.palette.now();
    const columns = { left, right };
    const n = Math.max(left.length, right.length);
    const line = n <= 64 ? 22 : n <= 160 ? 17 : 13;
    const size = Math.min(13, line - 2);
    const w = Math.min(width, 620);
    const column = Math.min(w * 0.34, 14 + Math.max(...[...left, ...right].map((name) => bertsmith.textWidth(name, size))));
    const picture = bertsmith.picture(w, line * n + 4, label, true);
    const middle = (index) => line * (index + 0.5) + 2;
    const brush = picture.canvas.getContext("2d");
    const group = svg("g", { fill: "none" });
    const shadesOf = (names, x) => names.map((_, index) => svg("rect", {
      x, y: line * index + 2, width: column - 4, height: line - 1, rx: 4, fill: colours.accent, stroke: colours.ink,
      "stroke-width": 0, opacity: 0 }));
    const shades = { left: shadesOf(left, 0), right: shadesOf(right, w - column + 4) };
    const words = (names, x, anchor) => names.map((name, index) => bertsmith.letters(
      bertsmith.fitted(name, column - 12, size), x, middle(index) + size * 0.36,
      { "text-anchor": anchor, fill: colours.ink, "font-size": size }));
    picture.svg.append(...shades.left, ...shades.right, group,
      ...words(left, column - 10, "end"), ...words(right, w - column + 10, "start"));

    let chosen = null;
    let isPinned = false;
    function draw() {
      const lines = strongest(layers, chosen);
      const ends = ([, i, j]) => ({ x1: column, x2: w - column, y1: middle(i), y2: middle(j) });
      const few = lines.length <= MOST_SVG_LINES;
      // Few lines go into the SVG and are saved as lines; many are painted.
      group.replaceChildren(...(few ? lines : []).map((found) => svg("line",
        { ...ends(found), stroke: bertsmith.palette.hue(found[3]),
        "stroke-width": 2, opacity: Math.min(found[0], 1).toFixed(3) })));
      brush.clearRect(0, 0, picture.width, picture.height);
      if (!few) paintLines(brush, lines, ends);
      for (const [side, rects] of Object.entries(shades)) {
        rects.forEach((rect, index) => {
          rect.setAttribute("opacity", shadeOf(side, index).toFixed(3));
          rect.setAttribute("stroke-width", isPinned && side === chosen.side && index === chosen.index ? 2 : 0);
        });
      }
    }
    function shadeOf(side, index) {
      if (chosen === null) return 0;
      if (side === chosen.side) return index === chosen.index ? 0.25 : 0;
      return chosen.side === "left" ? averageOf(layers, chosen.index, index) : averageOf(layers, index, chosen.index);
    }
    function choose(place, pinned = false) {
      const next = place && { side: place.side, index: bertsmith.clamp(place.index, 0, columns[place.side].length - 1) };
      if (pinned === isPinned && JSON.stringify(next) === JSON.stringify(chosen)) return;
      [chosen, isPinned] = [next, pinned];
      draw();
      focused(chosen && { ...chosen, isPinned });
    }
    const { element } = picture;
    function placeOf(event) {
      const box = element.getBoundingClientRect();
      const [x, index] = [event.clientX - box.left, Math.floor((event.clientY - box.top - 2) / line)];
      const side = x < column + 10 ? "left" : x > w - column - 10 ? "right" : null;
      return side && index < columns[side].length ? { side, index: Math.max(index, 0) } : null;
    }
    const isChosen = (place) => place !== null && chosen !== null && place.side === chosen.side && place.index === chosen.index;
    element.addEventListener("mousemove", (event) => { if (!isPinned) choose(placeOf(event)); });
    element.addEventListener("mouseleave", () => { if (!isPinned) choose(null); });
    element.addEventListener("click", (event) => {
      const place = placeOf(event);
      choose(place, place !== null && !(isPinned && isChosen(place)));
    });
    const step = (by) => choose(chosen === null ? { side: "left", index: 0 } : { ...chosen, index: chosen.index + by }, isPinned);
    const cross = (side) => choose({ side, index: chosen === null ? 0 : chosen.index }, isPinned);
    bertsmith.arrows(element, label, {
      ArrowDown: () => step(1), ArrowUp: () => step(-1), ArrowLeft: () => cross("left"), ArrowRight: () => cross("right"),
      Enter: () => choose(chosen || { side: "left", index: 0 }, !isPinned), Escape: () => choose(null),
    });
    element.place = () => (chosen === null ? null : { ...chosen, isPinned });
    element.resume = (place) => choose(place, place.isPinned);
    draw();
    return picture;
  };

  const averageOf = (layers, i, j) => layers.reduce((sum, { weights }) => sum + weights[i][j], 0) / layers.length;

  /** The lines that can be seen, as [opacity, i, j, hue]; of very many the strongest stay. */
  function strongest(layers, chosen) {
    // The more heads lie on each other, the fainter each of them.
    const share = 1 / Math.sqrt(layers.length);
    const floor = chosen === null ? FAINTEST / share : FAINTEST / 10;
    const isSeen = (i, j) => chosen === null || chosen.index === (chosen.side === "left" ? i : j);
    const lines = [];
    for (const { weights, hue } of layers) {
      weights.forEach((row, i) => row.forEach((weight, j) => {
        if (weight >= floor && isSeen(i, j)) lines.push([weight * share, i, j, hue]);
      }));
    }
    if (lines.length <= MOST_LINES) return lines;
    return lines.sort((one, other) => other[0] - one[0]).slice(0, MOST_LINES);
  }

  function paintLines(brush, lines, ends) {
    brush.lineWidth = 1.5;
    for (const line of lines) {
      const { x1, x2, y1, y2 } = ends(line);
      brush.globalAlpha = Math.min(line[0], 1);
      brush.strokeStyle = bertsmith.palette.hue(line[3]);
      brush.beginPath();
      brush.moveTo(x1, y1);
      brush.lineTo(x2, y2);
      brush.stroke();
    }
  }
})(window.bertsmith);
