// What one position reads: the keys of its row, as bars and as a table.

import { bars } from "./bars.js";
import { element } from "./elements.js";
import { folded } from "./table.js";
import { amount, glyph, say } from "./words.js";

const MOST = 10; // bars

/** @param {string[]} characters */
export function reading(characters) {
  const length = characters.length;
  const title = element("h3");
  const shares = element("div");
  const rows = element("tbody");
  const names = ["attention.key", "attention.value.scores", "attention.value.masked", "attention.value.weights"];
  const table = folded("attention.table", names, rows);
  const named = (/** @type {number} */ at) => `${at} ${glyph(characters[at])}`;
  let fill = () => {};
  table.ontoggle = () => fill();
  return {
    parts: [title, shares, table],
    /** @param {import("./panels/attention.js").Head} head @param {number} row */
    show(head, row) {
      const [scores, masked, weights] = [head.scores, head.masked, head.weights]
        .map((all) => all.subarray(row * length, (row + 1) * length));
      const sorted = characters.map((_, at) => at).sort((one, other) => weights[other] - weights[one] || one - other);
      title.textContent = say("attention.reads", { row, query: glyph(characters[row]) });
      shares.replaceChildren(bars(sorted.slice(0, Math.min(MOST, row + 1)).map((at) => [named(at), weights[at]])));
      fill = () => {
        if (!table.open) return; // hundreds of rows that nobody sees would slow the walk down
        rows.replaceChildren(...sorted.map((at) => element("tr", {},
          element("th", { scope: "row", className: "text", textContent: named(at) }),
          ...[scores, masked, weights].map((all) => element("td", { textContent: amount(all[at]) })))));
      };
      fill();
    },
  };
}
