// Pictures saved as SVG or PNG, numbers as CSV or JSON.
"use strict";
(function (bertsmith) {
  function download(name, blob) {
    const address = URL.createObjectURL(blob);
    const link = bertsmith.html("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  /** One SVG text of a picture: what lies on its canvas goes in as an image behind the lines and letters. */
  function svgText(picture) {
    const copy = picture.svg.cloneNode(true);
    const { width, height } = picture;
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    if (picture.canvas) {
      const href = picture.canvas.toDataURL("image/png");
      copy.prepend(bertsmith.svg("image", { href, x: 0, y: 0, width, height }));
    }
    copy.prepend(bertsmith.svg("rect", { width, height, fill: bertsmith.palette.now().paper }));
    return new XMLSerializer().serializeToString(copy);
  }

  async function pngBlob(picture) {
    const image = new Image();
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svgText(picture));
    await image.decode();
    const factor = Math.min(2, 8192 / Math.max(picture.width, picture.height));
    const canvas = bertsmith.html("canvas", { width: picture.width * factor, height: picture.height * factor });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    // toBlob() would wait for the browser to be idle.
    const [, base64] = canvas.toDataURL("image/png").split(",");
    return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });
  }

  // A cell that begins like a formula would be computed by a spreadsheet.
  function cell(value) {
    if (typeof value === "number") return String(value);
    const text = String(value ?? "");
    const safe = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  }

  const csv = ({ columns, rows }) => [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

  /** The buttons below a figure; ``numbers()`` gives {columns, rows}, ``picture`` is {svg, canvas, width, height} or null. */
  bertsmith.saveButtons = function (name, picture, numbers) {
    const kinds = {
      JSON: () => new Blob([JSON.stringify({ figure: name, ...numbers() })], { type: "application/json" }),
      CSV: () => new Blob(["\ufeff", csv(numbers())], { type: "text/csv" }),
    };
    if (picture) {
      kinds.SVG = () => new Blob([svgText(picture)], { type: "image/svg+xml" });
      kinds.PNG = () => pngBlob(picture);
    }
    return bertsmith.html("div", { class: "save", role: "group", "aria-label": bertsmith.t("save") },
      ...Object.keys(kinds).sort().reverse().map((kind) => bertsmith.html("button", {
        type: "button", text: kind, "aria-label": `${bertsmith.t("save")} ${kind}`, "data-save": kind,
        onclick: async () => download(`${name}.${kind.toLowerCase()}`, await kinds[kind]()),
      })));
  };
})(window.bertsmith);
