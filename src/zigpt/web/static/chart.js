// The loss over the steps, between the dashed lines of the ladder.

import { drawn } from "./elements.js";
import { fixed, say, whole } from "./words.js";

const HEIGHT = 360, LEFT = 44, RIGHT = 110, TOP = 12, BOTTOM = 30;
const WIDEST = 1000, LINE = 14; // of a label

/**
 * @param {{step: number, train_loss: number | null, test_loss: number | null}[]} rows
 * @param {Record<string, number>} ladder @param {number} lastStep @param {number} room in pixels, from left to right
 */
export function lossChart(rows, ladder, lastStep, room) {
  const WIDTH = Math.min(room || WIDEST, WIDEST);
  const measured = rows.filter((row) => row.test_loss !== null);
  const losses = [...Object.values(ladder), ...measured.flatMap((row) => [row.train_loss, row.test_loss])];
  const highest = Math.max(...losses.map(Number)), lowest = Math.min(...losses.map(Number));
  const x = (/** @type {number} */ step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / Math.max(lastStep, 1);
  const y = (/** @type {number} */ loss) =>
    TOP + ((HEIGHT - TOP - BOTTOM) * (highest - loss)) / Math.max(highest - lowest, 1e-9);
  const picture = drawn("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });

  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const step = Math.round(part * lastStep), loss = highest - part * (highest - lowest);
    picture.append(
      drawn("text", { x: x(step), y: HEIGHT - 8, "text-anchor": "middle" }, whole(step)),
      drawn("text", { x: LEFT - 6, y: y(loss) + 4, "text-anchor": "end" }, fixed(loss, 2)),
      drawn("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(loss), y2: y(loss) }),
    );
  }
  const labels = Object.entries(ladder).map(([name, loss]) => {
    picture.append(drawn("line", { class: "rung", x1: LEFT, x2: WIDTH - RIGHT, y1: y(loss), y2: y(loss) }));
    return { x: WIDTH - RIGHT + 6, y: y(loss), class: "", text: `${name} ${fixed(loss, 2)}` };
  });
  const last = measured.at(-1);
  for (const kind of /** @type {const} */ (["train", "test"])) {
    const points = measured.map((row) => `${x(row.step)},${y(Number(row[`${kind}_loss`]))}`);
    picture.append(drawn("polyline", { class: kind, points: points.join(" ") }));
    if (!last) continue;
    labels.push({ x: x(last.step) + 6, y: y(Number(last[`${kind}_loss`])), class: `label-${kind}`, text: say(`learn.${kind}.line`) });
  }
  for (const { text, ...place } of apart(labels)) picture.append(drawn("text", { ...place, y: place.y + 4 }, text));
  return picture;
}

/** Move labels up and down until none lies on another. @template {{y: number}} Label @param {Label[]} labels */
function apart(labels) {
  const sorted = labels.toSorted((one, other) => one.y - other.y);
  let above = -Infinity, below = HEIGHT - BOTTOM;
  for (const label of sorted) above = label.y = Math.max(label.y, above + LINE);
  for (const label of sorted.toReversed()) {
    label.y = Math.min(label.y, below);
    below = label.y - LINE;
  }
  return sorted;
}
