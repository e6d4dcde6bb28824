// Where answers come from: the server, or the JSON block of an exported file.
"use strict";
(function (bertsmith) {
  const MOST_KEPT = 300;
  const block = document.getElementById("bertsmith-data");
  const data = block ? JSON.parse(block.textContent) : null;
  const kept = new Map();

  /** The same text for the same request, whatever the order of its fields. */
  function keyOf(view, request) {
    const fields = Object.keys(request).filter((name) => request[name] !== undefined && request[name] !== null).sort();
    return view + " " + JSON.stringify(Object.fromEntries(fields.map((name) => [name, request[name]])));
  }

  function unwrap(answer) {
    if (answer && answer.error) throw bertsmith.refusal(answer.error.code, answer.error.message, answer.error.values);
    return answer;
  }

  async function request(address, options) {
    let response;
    try {
      response = await fetch(address, options);
    } catch (error) {
      throw error.name === "AbortError" ? error : bertsmith.refusal("unreachable", "The server does not answer.");
    }
    return unwrap(await response.json());
  }

  async function fromFile(key) {
    if (!(key in data.answers)) throw bertsmith.refusal("not_in_export", "This file does not hold the answer.");
    return unwrap(data.answers[key]);
  }

  /** Everything in an answer that is a Grid becomes nested lists of numbers. */
  function unfold(value) {
    if (Array.isArray(value)) return value.map(unfold);
    if (value === null || typeof value !== "object") return value;
    if (value.shape && typeof value.data === "string") return nested(value);
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, unfold(inner)]));
  }

  function nested({ shape, low, high, data: text }) {
    const letters = atob(text);
    const step = (high - low) / 65535;
    let place = 0;
    const build = (axis) => {
      const values = new Array(shape[axis]);
      for (let index = 0; index < values.length; index += 1) {
        if (axis < shape.length - 1) {
          values[index] = build(axis + 1);
        } else {
          values[index] = low + step * (letters.charCodeAt(place) + 256 * letters.charCodeAt(place + 1));
          place += 2;
        }
      }
      return values;
    };
    return build(0);
  }

  bertsmith.source = {
    isExport: data !== null,
    models: async () => (data ? data.models : request("/api/models")),
    /** The answer of a view, with its grids as nested lists; rejects with an error that has ``code`` and ``values``. */
    ask(view, fields, signal) {
      const key = keyOf(view, fields);
      if (!kept.has(key)) {
        const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields), signal };
        const answer = (data ? fromFile(key) : request(`/api/${view}`, options)).then(unfold);
        // What failed, or what nobody waited for, is asked again the next time.
        let settled = false;
        const forget = () => !settled && kept.get(key) === answer && kept.delete(key);
        answer.then(() => { settled = true; }, forget);
        signal.addEventListener("abort", forget);
        kept.set(key, answer);
        if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
      }
      return kept.get(key);
    },
  };
})(window.bertsmith);
