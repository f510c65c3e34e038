// Building the page. Text is always set as text: nothing a model writes becomes markup.

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name @param {Record<string, any>} [properties] @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "style" || key === "dataset") Object.assign(made[key], value);
    else if (key in made) /** @type {any} */ (made)[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** @param {string} textContent @param {(() => void) | null} onclick @param {Record<string, any>} [properties] */
export const button = (textContent, onclick, properties) =>
  element("button", { type: "button", textContent, onclick, ...properties });

/** @param {string} name @param {Record<string, any>} attributes @param {...(Node | string)} children */
export function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * Replace what is in a place. Open details stay open, and the focus stays on the element of the same id, or else on
 * the one in the same place among its kind. @param {HTMLElement} place @param {...Node} children
 */
export function redraw(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const kin = () => /** @type {HTMLElement[]} */ ([...place.querySelectorAll(focused?.localName ?? "none")]);
  const at = kin().findIndex((each) => each === focused);
  const open = [...place.querySelectorAll("details[open]")].map(({ id }) => id);
  place.replaceChildren(...children);
  for (const id of open) byId(id)?.setAttribute("open", "");
  if (focused) (focused.id ? byId(focused.id) : kin()[at])?.focus();
}
