// The loss over the steps, between the dashed lines of the ladder.

import { drawn } from "./elements.js";
import { fixed, say, whole } from "./words.js";

const WIDTH = 1000, HEIGHT = 360, LEFT = 44, RIGHT = 110, TOP = 12, BOTTOM = 30;

/**
 * @param {{step: number, train_loss: number | null, test_loss: number | null}[]} rows
 * @param {Record<string, number>} ladder @param {number} lastStep
 */
export function lossChart(rows, ladder, lastStep) {
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
  for (const [name, loss] of Object.entries(ladder)) {
    picture.append(
      drawn("line", { class: "rung", x1: LEFT, x2: WIDTH - RIGHT, y1: y(loss), y2: y(loss) }),
      drawn("text", { x: WIDTH - RIGHT + 6, y: y(loss) + 4 }, `${name} ${fixed(loss, 2)}`),
    );
  }
  for (const kind of /** @type {const} */ (["train", "test"])) {
    const points = measured.map((row) => `${x(row.step)},${y(Number(row[`${kind}_loss`]))}`);
    picture.append(drawn("polyline", { class: kind, points: points.join(" ") }));
    const last = measured.at(-1);
    if (last) {
      const place = { x: x(last.step) + 6, y: y(Number(last[`${kind}_loss`])) + (kind === "train" ? 14 : -6) };
      picture.append(drawn("text", { class: `label-${kind}`, ...place }, say(`learn.${kind}.line`)));
    }
  }
  return picture;
}
