// What outlives a redraw: the focus with its caret, places in pictures, opened details, how far things are scrolled.
"use strict";
(function (bertsmith) {
  const REACHABLE = "button, input, select, textarea, summary, a[href], [tabindex]";
  const figureOf = (node) => (node.closest("[data-figure]") ? node.closest("[data-figure]").dataset.figure : "");
  const all = (root, selector) => Array.from(root.querySelectorAll(selector));
  const inFigure = (root, figure) => all(root, REACHABLE).filter((node) => figureOf(node) === figure);

  /** Return a function that gives the focus within ``root`` to what stands there in its place, unless something else has it. */
  bertsmith.keepFocus = function (root) {
    const node = document.activeElement;
    if (!node || node === document.body || !root.contains(node)) return () => {};
    const [key, figure] = [node.dataset.key, figureOf(node)];
    const place = inFigure(root, figure).indexOf(node);
    const caret = "selectionStart" in node ? [node.selectionStart, node.selectionEnd] : null;
    return (now) => {
      if (document.activeElement && document.activeElement !== document.body) return;
      const keyed = all(now, REACHABLE).filter((one) => key && one.dataset.key === key);
      const found = (key ? keyed : [inFigure(now, figure)[place]]).find((one) => one && one.offsetParent !== null);
      if (!found) return;
      found.focus({ preventScroll: true });
      if (caret && caret[0] !== null && "selectionStart" in found) found.setSelectionRange(...caret);
    };
  };

  // What can be put back, by selector: how to read it from a node, and how to write it there.
  const KEPT = {
    ".scroll, .strip, .marked": [(node) => [node.scrollLeft, node.scrollTop],
      (node, [left, top]) => Object.assign(node, { scrollLeft: left, scrollTop: top })],
    details: [(node) => node.open, (node, open) => { node.open = open; }],
    ".picture": [(node) => (node.place ? node.place() : null), (node, place) => place !== null && node.resume && node.resume(place)],
  };

  function named(root, selector) {
    const counts = {};
    return all(root, selector).map((node) => {
      const figure = figureOf(node);
      counts[figure] = (counts[figure] || 0) + 1;
      return [`${figure} ${counts[figure]}`, node];
    });
  }

  /** Return a function that puts back into a panel what it has now. */
  bertsmith.keep = function (panel) {
    const focus = bertsmith.keepFocus(panel);
    const kept = Object.entries(KEPT).map(([selector, [get, put]]) => [selector, put,
      new Map(named(panel, selector).map(([name, node]) => [name, get(node)]))]);
    return (now) => {
      for (const [selector, put, before] of kept) {
        for (const [name, node] of named(now, selector)) if (before.has(name)) put(node, before.get(name));
      }
      focus(now);
    };
  };
})(window.bertsmith);
