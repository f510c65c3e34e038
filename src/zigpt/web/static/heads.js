// All heads of all layers in small, to choose from.

import { element } from "./elements.js";
import { isFuture, pixels } from "./field.js";
import { walk } from "./walk.js";
import { say } from "./words.js";

/**
 * @param {Float32Array} small the weights of all heads, made small @param {{n_layer: number, n_head: number}} model
 * @param {{layer: number, head: number}} view @param {(layer: number, head: number) => void} choose
 */
export function headChoice(small, model, view, choose) {
  const { n_layer, n_head } = model;
  const size = small.length / (n_layer * n_head), side = Math.sqrt(size);
  const thumb = (/** @type {number} */ layer, /** @type {number} */ head) => {
    const at = layer * n_head + head;
    const picture = pixels({
      values: small.subarray(at * size, (at + 1) * size), rows: side, columns: side, kind: "share", most: 1,
      hidden: isFuture,
    });
    const named = say("attention.head", { layer, head });
    return element("button", { type: "button", className: "thumb", title: named, "aria-label": named }, picture);
  };
  const buttons = Array.from({ length: n_layer }, (_, layer) =>
    Array.from({ length: n_head }, (_, head) => thumb(layer, head)));
  walk(buttons, view.layer, view.head, (layer, head) => {
    if (layer !== view.layer || head !== view.head) choose(layer, head);
  });
  const made = element("div", { className: "heads", role: "group", "aria-label": say("attention.heads") });
  made.style.gridTemplateColumns = `auto repeat(${n_head}, minmax(0, 56px))`;
  made.append(
    element("span"),
    ...Array.from({ length: n_head }, (_, head) => element("span", { textContent: say("attention.column", { head }) })),
    ...buttons.flatMap((line, layer) => [element("span", { textContent: say("attention.row", { layer }) }), ...line]),
  );
  return made;
}
