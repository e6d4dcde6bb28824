// What is shown, kept in the address behind the #: a link reopens the same view, and the browser's Back undoes a choice.
"use strict";
(function (bertsmith) {
  // Changes of the same value that follow each other so closely, in milliseconds, are one step back.
  const BURST = 2500;
  const listeners = [];
  let values = read();
  let last = { names: "", at: 0 };

  function read() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }

  // A page inside a notebook has no address of its own: there the state lives in memory alone.
  function write(how) {
    try {
      history[how](null, "", "#" + new URLSearchParams(values));
    } catch {
      return;
    }
  }

  const tell = (before, wait) => listeners.forEach((listener) => listener(values, before, wait));

  function changed(changes) {
    const next = { ...values };
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined) delete next[name];
      else next[name] = String(value);
    }
    return next;
  }

  const same = (next) => JSON.stringify(next) === JSON.stringify(values);

  window.addEventListener("hashchange", () => {
    const before = values;
    last = { names: "", at: 0 };
    values = read();
    if (!same(before)) tell(before, 0);
  });

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
    /**
     * Change values and draw anew; null and "no value" take one out of the address. What is typed or dragged goes on: it is
     * drawn when ``wait`` milliseconds have passed without another change, and all of it is one step back.
     */
    set(changes, wait = 0) {
      const next = changed(changes);
      if (same(next)) return;
      const names = wait ? Object.keys(changes).join() : "";
      const joins = names && names === last.names && Date.now() - last.at < BURST;
      last = { names, at: Date.now() };
      const before = values;
      values = next;
      write(joins ? "replaceState" : "pushState");
      tell(before, wait);
    },
    /** Take values out of the address, without a step back. */
    forget(...names) {
      values = changed(Object.fromEntries(names.map((name) => [name, null])));
      write("replaceState");
    },
    /** Call ``listener(values, before, wait)`` after every change. */
    listen: (listener) => listeners.push(listener),
  };
})(window.bertsmith);
