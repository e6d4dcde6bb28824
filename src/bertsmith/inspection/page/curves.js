// Curves with named axes, and the values at the point that the mouse or the arrow keys are on.
"use strict";
(function (bertsmith) {
  const { svg, range } = bertsmith;

  /** Multiples of 1, 2 or 5 times a power of ten between two values, six at most. */
  bertsmith.ticks = function (low, high) {
    const span = high - low || 1;
    const power = 10 ** Math.floor(Math.log10(span / 5));
    const step = power * ([1, 2, 5].find((factor) => span / (power * factor) <= 5) || 10);
    const first = Math.ceil(low / step - 1e-9);
    return range(Math.floor(high / step + 1e-9) - first + 1).map((index) => (first + index) * step);
  };

  /**
   * Curves over ``names`` (one point each); ``series`` are {name, values, hue, dashed}; ``xTitle`` and ``yTitle`` say what the axes
   * are. A line marks the point that the mouse or the arrow keys are on, and the read-out says the values there.
   */
  bertsmith.curves = function ({ names, series, width, label, low, high, xTitle, yTitle, format = (v) => bertsmith.number(v, 2) }) {
    const colours = bertsmith.palette.now();
    const [left, right, top, bottom] = [72, 26, 12 + 20 * Math.ceil(series.length / 2), 44];
    const [w, h] = [Math.min(width, 960), 250 + top];
    const picture = bertsmith.picture(w, h, label);
    const x = (index) => left + ((w - left - right) * index) / Math.max(names.length - 1, 1);
    const y = (value) => h - bottom - ((h - top - bottom) * (value - low)) / (high - low || 1);
    for (const tick of bertsmith.ticks(low, high)) {
      picture.svg.append(
        svg("line", { x1: left, x2: w - right, y1: y(tick), y2: y(tick), stroke: colours.grid }),
        bertsmith.letters(format(tick), left - 8, y(tick) + 4, { "text-anchor": "end" }));
    }
    const every = Math.ceil(Math.max(...names.map((name) => bertsmith.textWidth(name) + 10)) / Math.max(x(1) - x(0), 1));
    names.forEach((name, index) => index % every === 0 && picture.svg.append(
      svg("line", { x1: x(index), x2: x(index), y1: h - bottom, y2: h - bottom + 5, stroke: colours.border }),
      bertsmith.letters(name, x(index), h - bottom + 18, { "text-anchor": "middle" })));
    const middle = (top + h - bottom) / 2;
    picture.svg.append(
      svg("polyline", { points: `${left},${top} ${left},${h - bottom} ${w - right},${h - bottom}`, fill: "none",
        stroke: colours.border }),
      bertsmith.letters(xTitle, (left + w - right) / 2, h - 6, { "text-anchor": "middle" }),
      bertsmith.letters(yTitle, 14, middle, { "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }));
    series.forEach(({ name, values, hue, dashed }, index) => {
      const colour = bertsmith.palette.hue(hue);
      const points = values.map((value, i) => [x(i), y(value)]).filter((point) => Number.isFinite(point[1]));
      const [lx, ly] = [left + (index % 2) * ((w - left) / 2), 14 + 20 * Math.floor(index / 2)];
      picture.svg.append(
        svg("polyline", { points: points.join(" "), fill: "none", stroke: colour, "stroke-width": 2,
          "stroke-linejoin": "round", "stroke-dasharray": dashed ? "5 4" : null }),
        ...(points.length <= 40 ? points.map(([cx, cy]) => svg("circle", { cx, cy, r: 3, fill: colour })) : []),
        svg("line", { x1: lx, x2: lx + 18, y1: ly - 4, y2: ly - 4, stroke: colour, "stroke-width": 3,
          "stroke-dasharray": dashed ? "5 4" : null }),
        bertsmith.letters(bertsmith.fitted(name, (w - left) / 2 - 34), lx + 24, ly, { fill: colours.ink }));
    });
    const mark = svg("line", { y1: top, y2: h - bottom, stroke: colours.ink, opacity: 0 });
    picture.svg.append(mark);
    const readout = bertsmith.readout(bertsmith.t("point"));
    let place = null;
    function show(index) {
      place = bertsmith.clamp(index, 0, names.length - 1);
      mark.setAttribute("x1", x(place));
      mark.setAttribute("x2", x(place));
      mark.setAttribute("opacity", 1);
      const values = series.map((one) => `${one.name}: ${bertsmith.number(one.values[place], 4)}`);
      readout.say([`${xTitle} ${names[place]}`, ...values].join(" · "));
    }
    const { element } = picture;
    const pointed = (event) => show(Math.round((event.clientX - element.getBoundingClientRect().left - left)
      / ((w - left - right) / Math.max(names.length - 1, 1))));
    element.addEventListener("mousemove", pointed);
    element.addEventListener("click", pointed);
    bertsmith.arrows(element, label, {
      ArrowLeft: () => show(place === null ? 0 : place - 1), ArrowRight: () => show(place === null ? 0 : place + 1),
      Home: () => show(0), End: () => show(names.length - 1),
    });
    element.place = () => place;
    element.resume = show;
    return { ...picture, readout };
  };
})(window.bertsmith);
