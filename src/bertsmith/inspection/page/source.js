// Where answers come from: the server, or the JSON block of an exported file.
"use strict";
(function (bertsmith) {
  // Of JSON, as many as the server keeps; unfolded, numbers take three times the room.
  const MOST_CHARACTERS = 1 << 26;
  const block = document.getElementById("bertsmith-data");
  const data = block ? JSON.parse(block.textContent) : null;
  // What was asked, each with its answer and, once it is here, its size; what was used last stands last.
  const kept = new Map();
  // The names of the requests that are under way, by the signal that ends them.
  const underWay = new WeakMap();
  let lastName = 0;

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

  /** Forget what was not used for longest, until the rest is of bounded size. */
  function trim() {
    let size = 0;
    for (const [key, asked] of [...kept].reverse()) {
      size += asked.size;
      if (size > MOST_CHARACTERS) kept.delete(key);
    }
  }

  async function fromServer(view, fields, signal) {
    const names = underWay.get(signal) || new Set();
    underWay.set(signal, names);
    lastName += 1;
    const name = `${performance.timeOrigin}-${lastName}`;
    names.add(name);
    const headers = { "Content-Type": "application/json", "X-Request-Name": name };
    try {
      return await request(`/api/${view}`, { method: "POST", headers, body: JSON.stringify(fields), signal });
    } finally {
      names.delete(name);
    }
  }

  function newlyAsked(key, view, fields, signal) {
    const asked = { size: 0 };
    asked.answer = (data ? fromFile(key) : fromServer(view, fields, signal)).then((answer) => {
      asked.size = JSON.stringify(answer).length;
      trim();
      return unfold(answer);
    });
    // What failed, or what nobody waited for, is asked again the next time.
    const forget = () => !asked.size && kept.get(key) === asked && kept.delete(key);
    asked.answer.catch(forget);
    signal.addEventListener("abort", forget);
    return asked;
  }

  bertsmith.source = {
    isExport: data !== null,
    /** How much of what was asked with the signal is computed, from 0 to 1; null where nobody knows. */
    async share(signal) {
      const names = [...(underWay.get(signal) || [])];
      const answers = await Promise.all(names.map((name) => request(`/api/progress/${name}`).catch(() => ({ share: null }))));
      return answers.length && answers.every(({ share }) => share !== null) ? Math.min(...answers.map(({ share }) => share)) : null;
    },
    models: async () => (data ? data.models : request("/api/models")),
    /** The answer of a view, with its grids as nested lists; rejects with an error that has ``code`` and ``values``. */
    ask(view, fields, signal) {
      const key = keyOf(view, fields);
      const asked = kept.get(key) || newlyAsked(key, view, fields, signal);
      kept.delete(key);
      kept.set(key, asked);
      return asked.answer;
    },
  };
})(window.bertsmith);
