// Hand out: what is on screen as one file, which needs no server, no network and no script.

import { element } from "./elements.js";

// Pictures are not loaded in a document that nobody sees. Our own may load none that come as text.
const inert = document.implementation.createHTMLDocument("");
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
const KEPT = ["class", "style", "title", "scope", "open", "aria-label", "aria-hidden"];
const ROLES = ["group", "img"]; // the others promise that something can be done
const COMMAND = "button:not([aria-pressed], .text)";

/**
 * @param {HTMLElement} place the panel @param {string} title @param {string} about the model
 * @param {string[]} told what else it shows, and when
 */
export function handedOut(place, title, about, told) {
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
    element("body", { className: "handed-out" },
      element("header", {},
        element("h1", {}, element("span", { className: "seal", ariaHidden: "true", textContent: "字" }), " zigpt"),
        element("p", { id: "about", textContent: about })),
      element("p", { id: "told", textContent: told.join(" · ") }),
      element("main", {}, still(place))),
  );
  return `<!doctype html>\n${root.outerHTML}\n`;
}

/** Let the browser save a text as a file. @param {string} name @param {string} text */
export function save(name, text) {
  const href = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // saving it may have to be confirmed first
}

/** A copy that shows the same, with nothing to be done in it. @param {HTMLElement} place */
function still(place) {
  const copy = inert.importNode(place, true);
  const copies = [copy, ...copy.querySelectorAll("*")];
  for (const [at, shown] of [place, ...place.querySelectorAll("*")].entries()) settle(shown, copies[at]);
  return copy;
}

/** @param {Element} shown on screen @param {Element} copy of it */
function settle(shown, copy) {
  // A table that was never opened may be empty.
  if (shown.matches(`[hidden], ${COMMAND}, details:not(:has(td))`)) return copy.remove();
  if (shown instanceof HTMLCanvasElement) return copy.replaceWith(picture(shown));
  if (shown instanceof HTMLInputElement || shown instanceof HTMLTextAreaElement || shown instanceof HTMLSelectElement) {
    return copy.replaceWith(...value(shown));
  }
  if (shown instanceof SVGElement) return;
  for (const { name, value } of [...copy.attributes]) {
    if (KEPT.includes(name) || (name === "role" && ROLES.includes(value))) continue;
    copy.removeAttribute(name);
    // What was pressed or selected is only pointed out now.
    if (/^aria-(pressed|selected)$/.test(name) && value === "true") copy.setAttribute("aria-current", "true");
  }
  if (shown instanceof HTMLButtonElement) named(copy, "span", "button");
  if (shown instanceof HTMLFormElement) named(copy, "div");
}

/** The same by another name, and of one class more. @param {Element} copy @param {"span" | "div"} name
 * @param {string} [more] */
function named(copy, name, more) {
  const made = element(name, {}, ...copy.childNodes);
  for (const { name, value } of copy.attributes) made.setAttribute(name, value);
  if (more) made.classList.add(more);
  copy.replaceWith(made);
}

/** Its text is what is said of the canvas, and of the cell that was gone to. @param {HTMLCanvasElement} canvas */
function picture(canvas) {
  const made = inert.createElement("img");
  const label = canvas.ariaLabel ?? canvas.closest("button")?.ariaLabel ?? "";
  const told = canvas.parentElement?.querySelector(":scope > .readout")?.textContent ?? "";
  made.alt = `${label} ${told}`.trim();
  made.className = canvas.className;
  [made.width, made.height] = [canvas.width, canvas.height];
  made.src = canvas.toDataURL();
  return made;
}

/** @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field */
function value(field) {
  switch (field.type) {
    case "file": return [];
    case "range": return [element("br")]; // what it was moved to is said behind it
    case "checkbox": return [element("span", { textContent: field.matches(":checked") ? "☑" : "☐" })];
    case "textarea": return [element("span", { className: "field text", textContent: field.value })];
    case "select-one": return [element("span", { className: "field choice", textContent: chosen(field) })];
    default: return [element("span", { className: "field", textContent: field.value })];
  }
}

/** @param {Element} select */
const chosen = (select) => select.querySelector("option:checked")?.textContent ?? "";
