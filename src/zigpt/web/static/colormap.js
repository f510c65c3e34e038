// Numbers in rows and columns as colours: one pixel for each.

import { element } from "./elements.js";
/** @import { Field } from "./types.js" */

// Orange and blue, dark at both ends: distinct for all eyes, and in grey by how far they are from 0.
const RAMPS = {
  signed: ["--minus-2", "--minus-1", "--zero", "--plus-1", "--plus-2"],
  share: ["--zero", "--plus-1", "--plus-2"],
};
const SHADES = 256;

/** The colour of the page that a name in colours.css stands for now. @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Some of a colour of the page, over whatever lies below. @param {string} name @param {number} percent */
export const tint = (name, percent) => `color-mix(in srgb, var(${name}) ${Math.round(percent)}%, transparent)`;

/** Red, green, blue and opacity of all shades, one after the other. @param {keyof typeof RAMPS} kind */
function shades(kind) {
  const stops = RAMPS[kind].map((name) => [1, 3, 5].map((at) => parseInt(colour(name).slice(at, at + 2), 16)));
  const table = new Uint8ClampedArray(4 * SHADES);
  for (let shade = 0; shade < SHADES; shade++) {
    const place = (shade / (SHADES - 1)) * (stops.length - 1);
    const from = Math.min(Math.floor(place), stops.length - 2);
    const mixed = stops[from].map((part, at) => part + (place - from) * (stops[from + 1][at] - part));
    table.set([...mixed, 255], 4 * shade);
  }
  return table;
}

/** A canvas with a pixel for each number; hidden ones are transparent. @param {Field} field */
export function pixels({ values, rows, columns, kind, most, hidden }) {
  const canvas = element("canvas", { width: columns, height: rows });
  const pen = canvas.getContext("2d");
  if (!pen) return canvas;
  const image = pen.createImageData(columns, rows), table = shades(kind), data = image.data;
  const strength = 1 / (most || 1);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      if (hidden?.(row, column)) continue;
      const part = values[at] * strength;
      // Most shares are small: their root is shown.
      const place = kind === "share" ? Math.sqrt(part) : (part + 1) / 2;
      const shade = 4 * Math.round((SHADES - 1) * Math.min(Math.max(place, 0), 1));
      for (let each = 0; each < 4; each++) data[4 * at + each] = table[shade + each];
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** What the mask hides from queries in rows of keys in columns. @param {number} row @param {number} column */
export const isFuture = (row, column) => column > row;

/** The number furthest from 0. @param {ArrayLike<number>} values */
export function furthest(values) {
  let most = 0;
  for (let at = 0; at < values.length; at++) if (Math.abs(values[at]) > most) most = Math.abs(values[at]);
  return most;
}
