// Small helpers that every other file uses: elements, numbers, debouncing. All texts go in as text.
"use strict";
window.bertsmith = { views: {} };
(function (bertsmith) {
  const SVG = "http://www.w3.org/2000/svg";

  /** Give a node its properties ("on…" listeners, "text", all else attributes) and its children. */
  function fill(node, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "text") node.textContent = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  bertsmith.html = (name, properties = {}, ...children) => fill(document.createElement(name), properties, children);
  bertsmith.svg = (name, properties = {}, ...children) => fill(document.createElementNS(SVG, name), properties, children);

  /** A foreign text, isolated so that its direction does not turn what stands around it. */
  bertsmith.foreign = (text) => bertsmith.html("bdi", { text });

  /** Numbers as people read them: at most three digits behind the point, small ones as powers. */
  bertsmith.number = function (value, digits = 3) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    if (value !== 0 && Math.abs(value) < 10 ** -digits) return value.toExponential(1);
    return value.toFixed(digits);
  };
  bertsmith.percent = (value) => (value > 0 && value < 0.001 ? "< 0.1" : value >= 0.0995 ? (100 * value).toFixed(0) : bertsmith.number(100 * value, 1)) + " %";

  /** Call ``action`` once, when ``wait`` milliseconds have passed without another call. */
  bertsmith.debounce = function (action, wait) {
    let timer = 0;
    return (...values) => {
      clearTimeout(timer);
      timer = setTimeout(() => action(...values), wait);
    };
  };

  /** Why there is nothing to show: ``code`` names the words for it (error.… in words.js), else the message is shown. */
  bertsmith.refusal = (code, message = "", values = {}) => Object.assign(new Error(message), { code, values });

  bertsmith.range = (n) => Array.from({ length: n }, (_, index) => index);
  bertsmith.clamp = (value, low, high) => Math.min(Math.max(value, low), high);
})(window.bertsmith);
