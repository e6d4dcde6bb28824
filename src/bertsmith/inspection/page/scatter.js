// Points in the plane, and what the one is that the mouse or the arrow keys are on.
"use strict";
(function (bertsmith) {
  const { svg } = bertsmith;
  // How far the mouse may be from a point to mean it, in pixels.
  const NEAR = 30;

  const extent = (values) => [Math.min(...values), Math.max(...values)];

  /**
   * Named points {x, y, name, hue, said, faint} in the plane; each axis is stretched to its points. A ring marks the point that the
   * mouse is on or the arrow keys are at, one after the other, and the read-out has its name and what is ``said`` of it.
   */
  bertsmith.scatter = function ({ points, width, label, xTitle, yTitle }) {
    const colours = bertsmith.palette.now();
    const [w, h, margin] = [Math.min(width, 760), Math.min(width, 460), 34];
    const picture = bertsmith.picture(w, h, label);
    const [[x0, x1], [y0, y1]] = ["x", "y"].map((axis) => extent(points.map((point) => point[axis])));
    const places = points.map((point) => [margin + ((w - 3 * margin) * (point.x - x0)) / (x1 - x0 || 1),
      h - margin - ((h - 2 * margin) * (point.y - y0)) / (y1 - y0 || 1)]);
    picture.svg.append(
      svg("rect", { x: 0.5, y: 0.5, width: w - 1, height: h - 1, rx: 6, fill: "none", stroke: colours.border }),
      bertsmith.letters(xTitle, w / 2, h - 8, { "text-anchor": "middle" }),
      bertsmith.letters(yTitle, 14, h / 2, { "text-anchor": "middle", transform: `rotate(-90 14 ${h / 2})` }),
      ...points.map(({ hue, faint }, index) => svg("circle", { cx: places[index][0], cy: places[index][1], r: faint ? 3.5 : 4.5,
        fill: faint ? colours.paper : bertsmith.palette.hue(hue), stroke: bertsmith.palette.hue(hue), "stroke-width": faint ? 2 : 0 })),
      ...names(points, places, w));

    const ring = svg("circle", { r: 9, fill: "none", stroke: colours.ink, "stroke-width": 2, opacity: 0 });
    picture.svg.append(ring);
    const readout = bertsmith.readout(bertsmith.t("point"));
    let at = null;
    function show(index) {
      at = bertsmith.clamp(index, 0, points.length - 1);
      ring.setAttribute("cx", places[at][0]);
      ring.setAttribute("cy", places[at][1]);
      ring.setAttribute("opacity", 1);
      readout.say([points[at].name, points[at].said].filter(Boolean).join(" · "));
    }
    const { element } = picture;
    const pointed = (event) => {
      const box = element.getBoundingClientRect();
      const far = places.map(([x, y]) => Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y));
      const nearest = far.indexOf(Math.min(...far));
      if (far[nearest] <= NEAR) show(nearest);
    };
    element.addEventListener("mousemove", pointed);
    element.addEventListener("click", pointed);
    const step = (by) => () => show(at === null ? 0 : at + by);
    bertsmith.arrows(element, label, { ArrowRight: step(1), ArrowDown: step(1), ArrowLeft: step(-1), ArrowUp: step(-1),
      Home: () => show(0), End: () => show(points.length - 1) });
    element.place = () => at;
    element.resume = show;
    return { ...picture, readout };
  };

  /** The names of points; one that would lie on another name or reach out of the picture is left to the read-out. */
  function names(points, places, width) {
    const taken = [];
    return points.flatMap(({ name }, index) => {
      const text = bertsmith.fitted(name, 90);
      const [left, middle] = [places[index][0] + 7, places[index][1]];
      const right = left + bertsmith.textWidth(text);
      if (right > width || taken.some(([l, m, r]) => left < r + 4 && right > l - 4 && Math.abs(m - middle) < 14)) return [];
      taken.push([left, middle, right]);
      const { paper, ink } = bertsmith.palette.now();
      return [bertsmith.letters(text, left, middle + 4, { fill: ink, stroke: paper, "stroke-width": 3, "paint-order": "stroke" })];
    });
  }
})(window.bertsmith);
