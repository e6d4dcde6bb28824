// What is shown, kept in the address behind the #, so that a link reopens the same view.
"use strict";
(function (bertsmith) {
  const listeners = [];
  let values = read();

  function read() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }

  // A page inside a notebook has no address of its own: there the state lives in memory alone.
  function write() {
    try {
      history.replaceState(null, "", "#" + new URLSearchParams(values));
    } catch {
      return;
    }
  }

  function change(next, byHand) {
    const before = values;
    values = next;
    if (JSON.stringify(values) === JSON.stringify(before)) return;
    if (!byHand) write();
    for (const listener of listeners) listener(values, before, byHand);
  }

  window.addEventListener("hashchange", () => change(read(), true));

  bertsmith.state = {
    /** The text, or what is given when the address has none. */
    get: (name, otherwise = "") => (values[name] !== undefined ? values[name] : otherwise),
    /** One of the names; the first of them when the address has another or none. */
    oneOf: (name, names) => (names.includes(values[name]) ? values[name] : names[0]),
    /** The whole number between the bounds, or what is given when the address has none. */
    integer(name, otherwise, low, high) {
      const value = Number.parseInt(values[name], 10);
      return bertsmith.clamp(Number.isNaN(value) ? otherwise : value, low, high);
    },
    /** Change values and draw anew; null and "no value" take one out of the address. */
    set(changes) {
      const next = { ...values };
      for (const [name, value] of Object.entries(changes)) {
        if (value === null || value === undefined) delete next[name];
        else next[name] = String(value);
      }
      change(next, false);
    },
    /** Call ``listener(values, before, byHand)`` after every change; by hand: in the address itself. */
    listen: (listener) => listeners.push(listener),
  };
})(window.bertsmith);
