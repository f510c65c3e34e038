// What one number is made of, and how to make it again.

import { element } from "./elements.js";
import { furthest } from "./field.js";
import { amount, glyph, say, whole } from "./words.js";

/**
 * @typedef {(string | number)[]} Label what a term is, then its numbers
 * @typedef {{name: string, index: number[], letters: string[], sizes: number[]}} Cell
 * @typedef {{characters: string[], vocabulary: string[]}} Names
 * @typedef {(name: string, index: number[]) => void} Jump to another cell
 */

const ROUNDING = 1e-4; // of the value, and of 1

/** The numbers that a term was made from, as far as they can be traced themselves.
 * @type {Record<string, (index: number[], label: Label) => [string, number[]][]>} */
const FROM = {
  scores: ([layer, head, row, column], [, n]) => [["q", [layer, head, row, +n]], ["k", [layer, head, column, +n]]],
  weights: ([layer, head, row], [, n]) => [["scores", [layer, head, row, +n]]],
  heads: ([layer, head, row, channel], [, n]) =>
    [["weights", [layer, head, row, +n]], ["v", [layer, head, +n, channel]]],
  probabilities: ([row], [, n]) => [["logits", [row, +n]]],
  stream: ([, row, channel], [name]) => (name === "token" || name === "position" ? [[name, [row, channel]]] : []),
};

/** @param {Cell} cell @param {any} found what the server says of it @param {Names} names @param {Jump} jump */
export function origin(cell, found, names, jump) {
  const { letters, sizes } = cell, [owner, own] = found.own;
  const off = Math.abs(found.made - found.value);
  const sums = [
    say(`trace.sum.${found.rule}`, { total: amount(found.total), made: amount(found.made), own: amount(own ?? 0) }),
    say(off < ROUNDING * (1 + Math.abs(found.value)) ? "trace.check" : "trace.apart",
      { value: amount(found.value), off: amount(off) }),
  ];
  const meant = new Set(letters.map((letter, at) => say(`trace.letter.${letter}`, { n: whole(sizes[at]) })));
  const made = element("div", {},
    element("h3", { className: "text", textContent: `${reference(cell.name, cell.index)} = ${amount(found.value)}` }),
    element("p", { className: "lead" },
      element("span", { className: "text", textContent: `(${letters.join(", ")}) = (${sizes.join(", ")})` }),
      ...[...meant].map((text) => element("span", { className: "meant", textContent: text }))),
    element("p", { textContent: say(`trace.rule.${found.rule}`, { own: owner ? named(owner, names) : "" }) }),
    terms(cell, found, names, jump),
    element("p", { className: "readout sum" }, ...sums.map((textContent) => element("span", { textContent }))));
  const again = element("div", {},
    element("h3", { textContent: say("trace.source") }),
    element("p", { className: "sheet text source" },
      element("span", { textContent: `${found.source.path}:${found.source.number}` }),
      element("code", { textContent: found.source.code })),
    element("h3", { textContent: say("trace.snippet") }),
    element("p", { className: "lead", textContent: say("trace.where", { file: found.file }) }),
    ...copied(found.snippet));
  return [made, again];
}

/** As Python writes it. @param {string} name @param {number[]} index */
const reference = (name, index) => `${name}[${index.join(", ")}]`;

/** The terms as bars, to both sides of 0 where there are both, the largest first. @param {Cell} cell @param {any} found
 * @param {Names} names @param {Jump} jump */
function terms(cell, found, names, jump) {
  /** @type {[Label, number][]} */
  const listed = found.terms;
  const values = listed.map(([, value]) => value), most = furthest(values) || 1;
  const zero = values.some((value) => value < 0) ? 50 : 0;
  const rest = found.count - listed.length;
  const row = (/** @type {string} */ name, /** @type {number} */ value, track = element("span"), from = element("span")) =>
    element("li", {}, element("span", { textContent: name }), track,
      element("span", { className: "value", textContent: amount(value) }), from);
  return element("ol", { className: "terms" },
    ...listed.map(([label, value]) => row(named(label, names), value, bar(value / most, zero),
      element("span", {}, ...(FROM[cell.name]?.(cell.index, label) ?? []).map(([name, index]) => element("button", {
        type: "button", className: "text", textContent: reference(name, index), onclick: () => jump(name, index),
      }))))),
    ...(rest ? [row(say("trace.rest", { count: whole(rest) }), found.rest)] : []));
}

/** @param {number} part from -1 to 1 @param {number} zero where 0 is, in percent */
function bar(part, zero) {
  const made = element("span", { className: part < 0 ? "bar minus" : "bar" });
  const width = Math.abs(part) * (100 - zero);
  made.style.width = `${width}%`;
  made.style.marginLeft = `${part < 0 ? zero - width : zero}%`;
  return element("span", { className: zero ? "track signed" : "track" }, made);
}

/** @param {Label} label @param {Names} names */
function named([name, ...numbers], { characters, vocabulary }) {
  const [first, second] = numbers;
  if (name === "position" && numbers.length) return `${first} ${glyph(characters[+first])}`;
  if (name === "character") return `${first} ${glyph(vocabulary[+first])}`;
  return say(`trace.term.${String(name).replace(/\W/g, "_")}`, { first, second });
}

/** Text with a button that copies it. @param {string} text */
function copied(text) {
  const shown = element("pre", { className: "sheet text", textContent: text });
  const button = element("button", { type: "button", textContent: say("trace.copy") });
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = say("trace.copied");
    } catch { // not every page may: then it is one key away
      getSelection()?.selectAllChildren(shown);
      button.textContent = say("trace.selected");
    }
  };
  return [shown, button];
}
