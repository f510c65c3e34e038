// Numbers as tables, bars, scales and curves.

import { element, svg } from "./elements.js";
import { fixed, percent, say, whole } from "./i18n.js";
/** @import { Evaluation } from "./types.js" */

/** A table folded away. @param {string} summary @param {string[]} names of the columns
 * @param {HTMLTableSectionElement} rows */
export function foldedTable(summary, names, rows) {
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col", textContent: say(name) })));
  return element("details", { id: summary }, element("summary", { textContent: say(summary) }),
    element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), rows)));
}

/**
 * Shares as bars beside what they are shares of.
 * @param {[string, number, string?][]} shares each with a note behind it @param {number} [marked] the one to point out
 */
export function shareBars(shares, marked = -1) {
  const most = Math.max(...shares.map(([, share]) => share), 1e-9);
  return element("ol", { className: "bars" }, ...shares.map(([name, share, note], at) =>
    element("li", { className: at === marked ? "marked" : "" },
      element("span", { className: "text", textContent: name }),
      element("span", { className: "bar", style: { width: `${(100 * share) / most}%` } }),
      element("span", { textContent: percent(share) }),
      ...(note ? [element("span", { className: "note", textContent: note })] : []))));
}

/**
 * Numbers that add up to one, as bars to both sides of zero: the largest first, each from zero; or, in a chain, as
 * they come, each from where the one before ended.
 * @param {[string, number][]} addends @param {string} sum its name @param {boolean} isChain
 */
export function addendBars(addends, sum, isChain) {
  const sorted = isChain ? addends : addends.toSorted(([, one], [, other]) => Math.abs(other) - Math.abs(one));
  let end = 0;
  const spans = sorted.map(([name, value]) => {
    const from = isChain ? end : 0;
    end = from + value;
    return { name, value, from };
  });
  spans.push({ name: sum, value: sumOf(addends), from: 0 });
  const ends = spans.flatMap(({ from, value }) => [from, from + value]);
  const lowest = Math.min(0, ...ends), width = Math.max(1e-9, Math.max(0, ...ends) - lowest);
  const share = (/** @type {number} */ value) => `${(100 * value) / width}%`;
  return element("ol", { className: "addends" }, ...spans.map(({ name, value, from }, at) => {
    const style = { left: share(Math.min(from, from + value) - lowest), width: share(Math.abs(value)) };
    return element("li", { className: at === addends.length ? "sum" : "", dataset: { value } },
      element("span", { textContent: name }),
      element("span", { className: "track" }, element("i", { className: "zero", style: { left: share(-lowest) } }),
        element("i", { className: value < 0 ? "minus" : "plus", style })),
      element("span", { textContent: `${value < 0 ? "−" : "+"}${fixed(Math.abs(value))}` }));
  }));
}

/** @param {[string, number][]} addends */
export const sumOf = (addends) => addends.reduce((sum, [, value]) => sum + value, 0);

/** A legend from one word to another by the shades between them, and what follows.
 * @param {string} from @param {string[]} shades @param {(Node | string)[]} to */
export const shadeLegend = (from, shades, ...to) => element("div", { className: "legend" },
  from, element("i", { style: { background: `linear-gradient(to right, ${shades.join()})` } }), ...to);

const HEIGHT = 360, LEFT = 44, RIGHT = 110, TOP = 12, BOTTOM = 30; // pixels of the curves, and of their margins
const WIDEST = 1000, LABEL = 14;

/**
 * The losses over the steps, between the dashed lines of the baseline ladder.
 * @param {Evaluation[]} rows @param {Record<string, number>} ladder @param {number} lastStep
 * @param {number} room in pixels, from left to right
 */
export function lossChart(rows, ladder, lastStep, room) {
  const right = Math.min(room || WIDEST, WIDEST) - RIGHT, bottom = HEIGHT - BOTTOM;
  const losses = [...Object.values(ladder), ...rows.flatMap((row) => [row.train_loss, row.val_loss])];
  const highest = Math.max(...losses), lowest = Math.min(...losses);
  const x = (/** @type {number} */ step) => LEFT + ((right - LEFT) * step) / Math.max(lastStep, 1);
  const y = (/** @type {number} */ loss) => TOP + ((bottom - TOP) * (highest - loss)) / Math.max(highest - lowest, 1e-9);
  const level = (/** @type {string} */ name, /** @type {number} */ loss) =>
    svg("line", { class: name, x1: LEFT, x2: right, y1: y(loss), y2: y(loss) });
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((part) => {
    const step = Math.round(part * lastStep), loss = highest - part * (highest - lowest);
    return [
      svg("text", { x: x(step), y: HEIGHT - 8, "text-anchor": "middle" }, whole(step)),
      svg("text", { x: LEFT - 6, y: y(loss) + 4, "text-anchor": "end" }, fixed(loss, 2)),
      level("grid", loss),
    ];
  });
  const labels = Object.entries(ladder).map(([name, loss]) =>
    ({ x: right + 6, y: y(loss), class: "", text: `${name} ${fixed(loss, 2)}` }));
  const curves = /** @type {const} */ (["train", "val"]).map((kind) => {
    const points = rows.map((row) => [x(row.step), y(row[`${kind}_loss`])]), end = points.at(-1);
    if (end) labels.push({ x: end[0] + 6, y: end[1], class: `label-${kind}`, text: say(`train.line.${kind}`) });
    return svg("polyline", { class: kind, points: points.join(" ") });
  });
  const names = apart(labels).map(({ text, ...place }) => svg("text", { ...place, y: place.y + 4 }, text));
  return svg("svg", { class: "chart", viewBox: `0 0 ${right + RIGHT} ${HEIGHT}`, "aria-hidden": "true" },
    ...grid, ...Object.values(ladder).map((loss) => level("rung", loss)), ...curves, ...names);
}

/** Move labels up and down until none lies on another. @template {{y: number}} Label @param {Label[]} labels */
function apart(labels) {
  const sorted = labels.toSorted((one, other) => one.y - other.y);
  let above = -Infinity, below = HEIGHT - BOTTOM;
  for (const label of sorted) above = label.y = Math.max(label.y, above + LABEL);
  for (const label of sorted.toReversed()) {
    label.y = Math.min(label.y, below);
    below = label.y - LABEL;
  }
  return sorted;
}
