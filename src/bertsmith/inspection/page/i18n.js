// The page's language, and its words (words.js) with values put in.
"use strict";
(function (bertsmith) {
  const LANGUAGES = ["en", "zh"];

  bertsmith.language = function () {
    const chosen = bertsmith.state.get("lang");
    return LANGUAGES.includes(chosen) ? chosen : navigator.language.startsWith("zh") ? "zh" : "en";
  };

  /** The words of the key in the page's language, with {name} replaced by ``values.name``; the key itself where there are none. */
  bertsmith.t = function (key, values = {}) {
    const words = bertsmith.words[key];
    if (!words) return key;
    return words[LANGUAGES.indexOf(bertsmith.language())].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  };

  /** What an error means for the reader. */
  bertsmith.explain = function (error) {
    const key = `error.${error.code}`;
    return bertsmith.words[key] ? bertsmith.t(key, { message: error.message, ...error.values }) : error.message || bertsmith.t("error.failed");
  };
})(window.bertsmith);
