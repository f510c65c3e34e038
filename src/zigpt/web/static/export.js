// Export: what is on screen as one file, which needs no server, no network and no script.

import { element } from "./elements.js";

// Pictures are not loaded in a document that nobody sees. Our own may load none that come as text.
const inert = document.implementation.createHTMLDocument("");
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
const KEPT = ["class", "style", "title", "scope", "open", "aria-label", "aria-hidden"];
const ROLES = ["group", "img"]; // the others promise that something can be done
const COMMAND = "button:not([aria-pressed], .text)";

/**
 * Let the browser save a panel as a file.
 * @param {HTMLElement} panel @param {string} file its name @param {string} title @param {string} about the model
 * @param {string[]} caption what else it shows, and when
 */
export function exportPanel(panel, file, title, about, caption) {
  const html = `<!doctype html>\n${documentOf(panel, title, about, caption).outerHTML}\n`;
  const href = URL.createObjectURL(new Blob([html], { type: "text/html" }));
  element("a", { href, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // saving it may have to be confirmed first
}

/** @param {HTMLElement} panel @param {string} title @param {string} about @param {string[]} caption */
function documentOf(panel, title, about, caption) {
  const { lang, dataset } = document.documentElement;
  const root = inert.adoptNode(element("html", { lang, "data-theme": dataset.theme }));
  const styles = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText));
  root.append(
    element("head", {},
      element("meta", { charset: "utf-8" }),
      element("meta", { "http-equiv": "Content-Security-Policy", content: POLICY }),
      element("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
      element("title", { textContent: title }),
      element("style", { textContent: styles.join("\n").replace(/\[aria-(pressed|selected)=/g, "[aria-current=") })),
    element("body", { className: "exported" },
      element("header", {},
        element("h1", {}, element("span", { className: "seal", ariaHidden: "true", textContent: "字" }), " zigpt"),
        element("p", { id: "about", textContent: about })),
      element("p", { id: "caption", textContent: caption.join(" · ") }),
      element("main", {}, staticCopy(panel))),
  );
  return root;
}

/** A copy that shows the same, with nothing to be done in it. @param {HTMLElement} panel */
function staticCopy(panel) {
  const copy = inert.importNode(panel, true);
  const copies = [copy, ...copy.querySelectorAll("*")];
  for (const [at, shown] of [panel, ...panel.querySelectorAll("*")].entries()) makeStatic(shown, copies[at]);
  return copy;
}

/** @param {Element} shown on screen @param {Element} copy of it */
function makeStatic(shown, copy) {
  // A table that was never opened may be empty.
  if (shown.matches(`[hidden], ${COMMAND}, details:not(:has(td))`)) return copy.remove();
  if (shown instanceof HTMLCanvasElement) return copy.replaceWith(picture(shown));
  if (shown instanceof HTMLInputElement || shown instanceof HTMLTextAreaElement || shown instanceof HTMLSelectElement) {
    return copy.replaceWith(...fieldText(shown));
  }
  if (shown instanceof SVGElement) return;
  for (const { name, value } of [...copy.attributes]) {
    if (KEPT.includes(name) || (name === "role" && ROLES.includes(value))) continue;
    copy.removeAttribute(name);
    // What was pressed or selected is only pointed out now.
    if (/^aria-(pressed|selected)$/.test(name) && value === "true") copy.setAttribute("aria-current", "true");
  }
  if (shown instanceof HTMLButtonElement) rename(copy, "span", "button");
  if (shown instanceof HTMLFormElement) rename(copy, "div");
}

/** Make it another element, with one class more. @param {Element} copy @param {"span" | "div"} name
 * @param {string} [more] */
function rename(copy, name, more) {
  const renamed = element(name, {}, ...copy.childNodes);
  for (const { name, value } of copy.attributes) renamed.setAttribute(name, value);
  if (more) renamed.classList.add(more);
  copy.replaceWith(renamed);
}

/** Its alternative text is the canvas's label and the readout of the current cell. @param {HTMLCanvasElement} canvas */
function picture(canvas) {
  const image = inert.createElement("img");
  const label = canvas.ariaLabel ?? canvas.closest("button")?.ariaLabel ?? "";
  const readout = canvas.parentElement?.querySelector(":scope > .readout")?.textContent ?? "";
  image.alt = `${label} ${readout}`.trim();
  image.className = canvas.className;
  [image.width, image.height] = [canvas.width, canvas.height];
  image.src = canvas.toDataURL();
  return image;
}

/** @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field */
function fieldText(field) {
  switch (field.type) {
    case "file": return [];
    case "range": return [element("br")]; // its value is named behind it
    case "checkbox": return [element("span", { textContent: field.matches(":checked") ? "☑" : "☐" })];
    case "textarea": return [element("span", { className: "field text", textContent: field.value })];
    case "select-one": return [element("span", { className: "field choice", textContent: chosenOption(field) })];
    default: return [element("span", { className: "field", textContent: field.value })];
  }
}

/** @param {Element} select */
const chosenOption = (select) => select.querySelector("option:checked")?.textContent ?? "";
