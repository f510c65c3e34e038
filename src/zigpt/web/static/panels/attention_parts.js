// Around the cells of a head: all heads to choose from, the mask and its test, and what one row reads.

import { askNumbers } from "../api.js";
import { foldedTable, shareBars } from "../charts.js";
import { furthest, isFuture, pixels, tint } from "../colormap.js";
import { element } from "../elements.js";
import { amount, glyph, say } from "../i18n.js";
import { latestOnly } from "../latest_only.js";
import { rovingFocus } from "../roving_focus.js";
/** @import { Attempt, Head, Model, ModelState, Moment, View } from "../types.js" */

const MASK_SHADE = 0.3; // of all that may be read
const MOST_BARS = 10;

/**
 * All heads of all layers as small pictures.
 * @param {Float32Array} thumbs the weights of all heads, made small @param {Model} model
 * @param {View} view @param {(layer: number, head: number) => void} choose
 */
export function headChoice(thumbs, { n_layer, n_head }, view, choose) {
  const size = thumbs.length / (n_layer * n_head), side = Math.sqrt(size);
  const thumb = (/** @type {number} */ layer, /** @type {number} */ head) => {
    const start = (layer * n_head + head) * size, name = say("attention.head", { layer, head });
    const picture = pixels({
      values: thumbs.subarray(start, start + size), rows: side, columns: side, kind: "share", most: 1, hidden: isFuture,
    });
    return element("button", { type: "button", className: "thumb", title: name, "aria-label": name }, picture);
  };
  const layers = Array.from({ length: n_layer }, (_, layer) => layer);
  const heads = Array.from({ length: n_head }, (_, head) => head);
  const buttons = layers.map((layer) => heads.map((head) => thumb(layer, head)));
  rovingFocus(buttons, view.layer, view.head, (layer, head) => {
    if (layer !== view.layer || head !== view.head) choose(layer, head);
  });
  const style = { gridTemplateColumns: `auto repeat(${n_head}, minmax(0, 56px))` };
  return element("div", { className: "heads", role: "group", "aria-label": say("attention.heads"), style },
    element("span"), ...heads.map((head) => element("span", { textContent: say("attention.column", { head }) })),
    ...layers.flatMap((layer) =>
      [element("span", { textContent: say("attention.row", { layer }) }), ...buttons[layer]]));
}

/** The mask as a picture of its own: read off the scores that it was laid on.
 * @param {Float32Array} masked T x T @param {number} length T */
export function maskPicture(masked, length) {
  const picture = pixels({
    values: masked.map(() => MASK_SHADE), rows: length, columns: length, kind: "share", most: 1,
    hidden: (row, column) => !Number.isFinite(masked[row * length + column]),
  });
  picture.className = "mask";
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", say("attention.mask"));
  return element("div", { className: "masked" }, picture, element("div", {},
    element("h3", { textContent: say("attention.mask") }),
    element("p", { className: "lead", textContent: say("attention.mask.why") })));
}

/** The keys of one row, as bars and as a table. @param {string[]} characters */
export function rowReading(characters) {
  const length = characters.length;
  const title = element("h3"), bars = element("div"), rows = element("tbody");
  const names = ["attention.key", "attention.value.scores", "attention.value.masked", "attention.value.weights"];
  const table = foldedTable("attention.table", names, rows);
  const nameOf = (/** @type {number} */ at) => `${at} ${glyph(characters[at])}`;
  let fill = () => {};
  table.ontoggle = () => fill();
  return {
    parts: [title, bars, table],
    /** @param {Head} head @param {number} row */
    show(head, row) {
      const [scores, masked, weights] = [head.scores, head.masked, head.weights]
        .map((all) => all.subarray(row * length, (row + 1) * length));
      const sorted = characters.map((_, at) => at).sort((one, other) => weights[other] - weights[one] || one - other);
      title.textContent = say("attention.reads", { row, query: glyph(characters[row]) });
      const largest = sorted.slice(0, Math.min(MOST_BARS, row + 1));
      bars.replaceChildren(shareBars(largest.map((at) => [nameOf(at), weights[at]])));
      fill = () => {
        if (!table.open) return; // hundreds of rows that nobody sees would slow the arrow keys down
        rows.replaceChildren(...sorted.map((at) => element("tr", {},
          element("th", { scope: "row", className: "text", textContent: nameOf(at) }),
          ...[scores, masked, weights].map((all) => element("td", { textContent: amount(all[at]) })))));
      };
      fill();
    },
  };
}

/** The test of the mask: change one character, and see which scores move.
 * @param {ModelState} state @param {Moment} moment @param {Attempt} attempt */
export function influence(state, moment, attempt) {
  const { view } = state, characters = Array.from(moment.text), first = view.changed ?? view.column;
  const letters = characters.map((character) =>
    element("span", { className: "letter", role: "button", textContent: glyph(character) }));
  const readout = element("p", { className: "readout", "aria-live": "polite" });
  const change = latestOnly((/** @type {number} */ at) => attempt(async () => {
    const moved = await askNumbers("influence", { ...moment, position: at });
    const most = furthest(moved), before = furthest(moved.subarray(0, at));
    for (const [place, letter] of letters.entries()) {
      letter.classList.toggle("still", moved[place] === 0);
      letter.style.background = tint("--surprise", 70 * Math.sqrt(moved[place] / (most || 1)));
      letter.dataset.moved = letter.title = amount(moved[place]);
    }
    const key = at === 0 ? "first" : before === 0 ? "zero" : "leak";
    readout.replaceChildren(...[
      say("attention.changed", { at, character: glyph(characters[at]) }),
      say(`attention.before.${key}`, { at, before: amount(before) }),
      say("attention.most", { most: amount(most), place: moved.indexOf(most) }),
    ].map((textContent) => element("span", { textContent })));
  }));
  rovingFocus([letters], 0, first, (_, at) => {
    if (at !== first || view.changed !== null) view.changed = at;
    state.keep();
    change(at);
  });
  return element("div", {},
    element("h3", { textContent: say("attention.influence") }),
    element("p", { className: "lead", textContent: say("attention.influence.lead") }),
    element("div", { className: "sheet text influence", role: "group", "aria-label": say("attention.text") }, ...letters),
    readout);
}
