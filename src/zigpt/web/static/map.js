// A field of numbers as a picture with names along its edges, walked cell by cell with pointer and arrow keys.

import { element } from "./elements.js";
import { colour, pixels } from "./field.js";

const EDGE = 24; // pixels for the names along the left and upper edge
const NAME = 11; // pixels that the name of a row needs
const FONT = '11px ui-monospace, "Noto Sans Mono CJK SC", monospace';
const WIDEST = 40, HIGHEST = 560, LOWEST = 160; // pixels of a cell, and of the picture

/** @type {Record<string, [number, number]>} */
const STEPS = {
  ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
  Home: [0, -Infinity], End: [0, Infinity], PageUp: [-10, 0], PageDown: [10, 0],
};

/**
 * @typedef {import("./field.js").Field & {row: (n: number) => string, column: (n: number) => string}} Named
 * @typedef {(row: number, column: number) => void} Told
 */

/**
 * A canvas that is one stop for the Tab key.
 * @param {string} label
 * @param {{over: Told, chosen: Told, settled: () => void}} tell of the cell under the pointer, of the one gone to,
 * and of the moment when a key is let go there: what takes long is done then
 */
export function map(label, tell) {
  const canvas = element("canvas", { className: "map", role: "application", tabIndex: 0, "aria-label": label });
  /** @type {Named | undefined} */
  let field;
  let picture = canvas, at = [0, 0], over = at, cell = [1, 1], widest = 1;

  const draw = () => {
    const width = canvas.clientWidth, pen = canvas.getContext("2d");
    if (!field || !width || !pen) return;
    cell = sizes(field, width - EDGE);
    const size = [field.columns * cell[0], field.rows * cell[1]];
    canvas.style.height = `${EDGE + size[1] + 1}px`;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round((EDGE + size[1] + 1) * devicePixelRatio);
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.translate(EDGE, EDGE);
    if (field.hidden) hatch(pen, size);
    pen.imageSmoothingEnabled = cell[0] < 1 || cell[1] < 1;
    pen.drawImage(picture, 0, 0, size[0], size[1]);
    pen.strokeStyle = colour("--line");
    pen.strokeRect(-0.5, -0.5, size[0] + 1, size[1] + 1);
    names(pen, field, cell, over, widest);
    lines(pen, cell, over, size);
    frame(pen, cell, at);
  };
  /** @param {number} row @param {number} column */
  const go = (row, column) => {
    if (!field) return;
    at = over = [clamp(row, field.rows), clamp(column, field.columns)];
    draw();
    tell.chosen(at[0], at[1]);
  };
  /** @param {MouseEvent} event @returns {[number, number] | undefined} */
  const under = (event) => {
    const row = Math.floor((event.offsetY - EDGE) / cell[1]), column = Math.floor((event.offsetX - EDGE) / cell[0]);
    return field && row >= 0 && column >= 0 && row < field.rows && column < field.columns ? [row, column] : undefined;
  };

  /** @param {number[]} cell */
  const hover = (cell) => {
    if (cell[0] === over[0] && cell[1] === over[1]) return;
    over = cell;
    draw();
    tell.over(cell[0], cell[1]);
  };

  canvas.onpointermove = (event) => hover(under(event) ?? at);
  canvas.onpointerleave = () => hover(at);
  canvas.onclick = (event) => {
    const found = under(event);
    if (!found) return;
    go(...found);
    tell.settled();
  };
  canvas.onkeydown = (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    if (event.ctrlKey && Math.abs(step[1]) === Infinity) go(step[1], step[1]);
    else go(at[0] + step[0], at[1] + step[1]);
  };
  canvas.onkeyup = (event) => {
    if (STEPS[event.key]) tell.settled();
  };
  let drawn = 0;
  new ResizeObserver(() => {
    if (canvas.clientWidth !== drawn) draw();
    drawn = canvas.clientWidth;
  }).observe(canvas);

  return {
    canvas, go,
    /** Show other numbers, at a cell. @param {Named} other @param {number} row @param {number} column */
    show(other, row, column) {
      field = other;
      picture = pixels(other);
      widest = widestName(other);
      go(row, column);
    },
  };
}

/** Width and height of a cell; whole pixels of the screen where it has some. @param {Named} field
 * @param {number} room */
function sizes(field, room) {
  const sharp = (/** @type {number} */ size) => {
    const dots = size * devicePixelRatio;
    return dots < 2 ? size : Math.floor(dots) / devicePixelRatio;
  };
  const wide = Math.min(room / field.columns, WIDEST, field.rows === field.columns ? HIGHEST / field.rows : Infinity);
  const least = Math.min(LOWEST / field.rows, NAME);
  return [sharp(wide), sharp(Math.min(Math.max(wide, least), HIGHEST / field.rows))];
}

/** What lies under hidden cells. @param {CanvasRenderingContext2D} pen @param {number[]} size */
function hatch(pen, [width, height]) {
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.clip();
  pen.fillStyle = colour("--hidden");
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = colour("--hatch");
  pen.beginPath();
  for (let x = -height; x < width; x += 7) {
    pen.moveTo(x, height);
    pen.lineTo(x + height, 0);
  }
  pen.stroke();
  pen.restore();
}

/** What the name of a column needs. @param {Named} field */
function widestName(field) {
  const pen = element("canvas").getContext("2d");
  if (!pen) return NAME;
  pen.font = FONT;
  const names = Array.from({ length: field.columns }, (_, n) => field.column(n));
  return Math.max(...names.map((name) => pen.measureText(name).width + (name.length > 1 ? 5 : 0)));
}

/** As many as fit, and always those of the cell. @param {CanvasRenderingContext2D} pen @param {Named} field
 * @param {number[]} cell @param {number[]} at @param {number} widest of the names of columns */
function names(pen, field, cell, [row, column], widest) {
  const x = (/** @type {number} */ n) => (n + 0.5) * cell[0], y = (/** @type {number} */ n) => (n + 0.5) * cell[1];
  pen.font = FONT;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillStyle = colour("--faint");
  for (let n = 0; n < field.rows; n += Math.ceil(NAME / cell[1])) pen.fillText(field.row(n), -EDGE / 2, y(n));
  for (let n = 0; n < field.columns; n += Math.ceil(widest / cell[0])) pen.fillText(field.column(n), x(n), -EDGE / 2);
  const half = widest / 2 + 2, inside = Math.max(x(column), half - EDGE);
  pen.fillStyle = colour("--accent");
  pen.fillRect(-EDGE, y(row) - 8, EDGE - 2, 18);
  pen.fillRect(inside - half, -EDGE, 2 * half, EDGE - 2);
  pen.fillStyle = colour("--accent-ink");
  pen.fillText(field.row(row), -EDGE / 2, y(row));
  pen.fillText(field.column(column), inside, -EDGE / 2);
}

/** From a cell to its names. @param {CanvasRenderingContext2D} pen @param {number[]} cell @param {number[]} at
 * @param {number[]} size */
function lines(pen, cell, [row, column], [width, height]) {
  pen.strokeStyle = colour("--seal");
  pen.globalAlpha = 0.45;
  pen.strokeRect(0, (row + 0.5) * cell[1], width, 0);
  pen.strokeRect((column + 0.5) * cell[0], 0, 0, height);
  pen.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} pen @param {number[]} cell @param {number[]} at */
function frame(pen, cell, [row, column]) {
  const wide = Math.max(cell[0], 6), high = Math.max(cell[1], 6);
  pen.strokeStyle = colour("--seal");
  pen.lineWidth = 2;
  pen.strokeRect((column + 0.5) * cell[0] - wide / 2, (row + 0.5) * cell[1] - high / 2, wide, high);
}

/** @param {number} n @param {number} length */
const clamp = (n, length) => Math.max(0, Math.min(n, length - 1));
