// Colours that people with any colour vision can tell apart (Okabe and Ito's), for light and for dark screens.
"use strict";
(function (bertsmith) {
  const LIGHT = {
    paper: "#ffffff", border: "#868f99", grid: "#e8ebef", ink: "#1b2128", quiet: "#57606a", accent: "#0072b2",
    hues: ["#0072b2", "#d55e00", "#009e73", "#b35a8e", "#8a6d00", "#4d4d4d", "#3b8fc4", "#a34700"],
    ramp: ["#ffffff", "#cfe3f1", "#7fb9dc", "#2f86bd", "#0a5a96", "#06325c"],
    split: ["#a84300", "#e08a4a", "#f5d3b8", "#ffffff", "#bfdcef", "#4f9fd0", "#005a94"],
  };
  const DARK = {
    paper: "#171c22", border: "#6f7a87", grid: "#2a313a", ink: "#e8ecf1", quiet: "#a1abb6", accent: "#56b4e9",
    hues: ["#56b4e9", "#f0a030", "#2fc79b", "#e39bc4", "#f0e442", "#cccccc", "#8fcdf2", "#d98a4a"],
    ramp: ["#171c22", "#173a55", "#1d6399", "#3794cf", "#86cbf0", "#eaf7ff"],
    split: ["#ffc37a", "#d98324", "#6b4a22", "#171c22", "#1d4a6b", "#3794cf", "#a8dcf8"],
  };
  const STEPS = 256;
  const tables = new Map();

  const channels = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));

  /** The colours between the stops, in 256 steps. */
  function table(stops) {
    const key = stops.join();
    if (!tables.has(key)) {
      const parts = stops.map(channels);
      const steps = bertsmith.range(STEPS).map((step) => {
        const place = (step / (STEPS - 1)) * (parts.length - 1);
        const left = Math.min(Math.floor(place), parts.length - 2);
        return parts[left].map((value, i) => Math.round(value + (place - left) * (parts[left + 1][i] - value)));
      });
      tables.set(key, steps);
    }
    return tables.get(key);
  }

  /** A function from values between its ``low`` and its ``high`` to [red, green, blue]. */
  function scale(stops, low, high) {
    const steps = table(stops);
    const factor = (STEPS - 1) / (high - low || 1);
    const colour = (value) => steps[bertsmith.clamp(Math.round((value - low) * factor), 0, STEPS - 1)] || steps[0];
    return Object.assign(colour, { low, high });
  }

  const luminance = ([red, green, blue]) => (0.299 * red + 0.587 * green + 0.114 * blue) / 255;

  bertsmith.palette = {
    now: () => (document.documentElement.dataset.theme === "dark" ? DARK : LIGHT),
    /** From nothing (paper) to much. */
    ramp: (low, high) => scale(bertsmith.palette.now().ramp, low, high),
    /** From ``-most`` over zero (paper) to ``most``. */
    split: (most) => scale(bertsmith.palette.now().split, -most, most),
    css: (rgb) => `rgb(${rgb.join(",")})`,
    hue: (index) => bertsmith.palette.now().hues[index % LIGHT.hues.length],
    inkOn: (rgb) => (luminance(rgb) > 0.55 ? "#1b2128" : "#ffffff"),
  };
})(window.bertsmith);
