// What is shown while an answer takes long: how far it is, and a button that stops it.
"use strict";
(function (bertsmith) {
  const { html, t } = bertsmith;
  const [PATIENCE, BEAT] = [500, 400];

  /** An element, and ``follow(signal, done)``: it is shown while ``done`` takes long; the button calls ``stop()``. */
  bertsmith.progress = function (stop) {
    const bar = html("progress", { max: 1, "aria-label": t("progress") });
    const words = html("span", {});
    const element = html("div", { class: "progress card", role: "status", hidden: true }, words, bar,
      html("button", { type: "button", class: "plain", text: t("progress.stop"), onclick: stop }));

    function show(share) {
      if (share) bar.value = share;
      else bar.removeAttribute("value");
      words.textContent = share ? t("progress.share", { share: bertsmith.percent(share) }) : t("progress");
      element.hidden = false;
    }

    function follow(signal, done) {
      let isDone = false;
      const beat = async () => {
        const share = await bertsmith.source.share(signal);
        if (isDone) return;
        show(share);
        setTimeout(beat, BEAT);
      };
      setTimeout(beat, PATIENCE);
      const end = () => {
        isDone = true;
        element.hidden = true;
      };
      signal.addEventListener("abort", end);
      done.then(end);
    }

    return { element, follow };
  };
})(window.bertsmith);
