// All heads of all layers in small, to choose from.

import { element } from "./elements.js";
import { pixels } from "./field.js";
import { walk } from "./walk.js";
import { say } from "./words.js";

/**
 * @param {Float32Array} small the weights of all heads, made small @param {{n_layer: number, n_head: number}} model
 * @param {{layer: number, head: number}} view @param {(layer: number, head: number) => void} choose
 */
export function headChoice(small, model, view, choose) {
  const { n_layer, n_head } = model;
  const size = small.length / (n_layer * n_head), side = Math.sqrt(size);
  const buttons = Array.from({ length: n_layer * n_head }, (_, at) => {
    const picture = pixels({
      values: small.subarray(at * size, (at + 1) * size), rows: side, columns: side, kind: "share", most: 1,
      hidden: (row, column) => column > row,
    });
    const named = say("attention.head", { layer: Math.floor(at / n_head), head: at % n_head });
    return element("button", { type: "button", className: "thumb", title: named, "aria-label": named }, picture);
  });
  let chosen = view.layer * n_head + view.head;
  walk(buttons, chosen, (at) => {
    if (at !== chosen) choose(Math.floor(at / n_head), at % n_head);
    chosen = at;
  }, n_head);
  const made = element("div", { className: "heads", role: "group", "aria-label": say("attention.heads") });
  made.style.gridTemplateColumns = `auto repeat(${n_head}, minmax(0, 56px))`;
  made.append(
    element("span"),
    ...Array.from({ length: n_head }, (_, head) => element("span", { textContent: say("attention.column", { head }) })),
    ...Array.from({ length: n_layer }, (_, layer) => [
      element("span", { textContent: say("attention.row", { layer }) }),
      ...buttons.slice(layer * n_head, (layer + 1) * n_head),
    ]).flat(),
  );
  return made;
}
