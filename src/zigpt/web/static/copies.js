// Copied or invented: the passages of what was written that stand word for word in the training text.

import { ask } from "./api.js";
import { element } from "./elements.js";
import { percent, say, whole } from "./words.js";

/**
 * @typedef {object} Passage
 * @property {number} start
 * @property {number} length
 * @property {number} line of the training text, from 1
 * @property {string} before what stands before it in its line
 * @property {string} after
 */

/** @typedef {{absent?: string, name?: string, shortest?: number, longest?: number, passages?: Passage[]}} Copies */

/** @param {string} text @returns {Promise<Copies>} */
export const copiesOf = (text) => ask("copies", { text });

/** How much was copied, or why nobody knows. @param {Copies} copies @param {number} length */
export function summaryOf({ absent, shortest = 1, longest = 0, passages = [] }, length) {
  if (absent) return say(`write.absent.${absent}`);
  const held = new Set(passages.flatMap((each) => Array.from({ length: each.length }, (_, at) => each.start + at)));
  return say(held.size ? "write.copied" : "write.invented", {
    share: percent(held.size / length), shortest: whole(shortest), longest: whole(longest),
  });
}

/**
 * Where the character at a place was copied from: the lines of the training text.
 * @param {Copies | undefined} copies @param {number} at @param {{character: string}[]} letters
 */
export function sourceOf(copies, at, letters) {
  const holding = (copies?.passages ?? []).filter(({ start, length }) => start <= at && at < start + length);
  return holding.map(({ start, length, line, before, after }) => {
    const own = letters.slice(start, start + length).map(({ character }) => character).join("");
    return element("figure", { className: "found" },
      element("figcaption", { textContent: say("write.source", {
        length: whole(length), line: whole(line), name: copies?.name ?? "",
      }) }),
      element("blockquote", { className: "sheet text" }, before, element("mark", { textContent: own }), after));
  });
}
