// What one number is made of, and how to recompute it.

import { button, element } from "../elements.js";
import { furthest } from "../colormap.js";
import { amount, glyph, say, whole } from "../i18n.js";
/** @import { Label, Names, Shape, Trace } from "../types.js" */

/** @typedef {Shape & {name: string, index: number[]}} Cell */
/** @typedef {(name: string, index: number[]) => void} Jump to another cell */

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

/** @param {Cell} cell @param {Trace} found @param {Names} names @param {Jump} jump */
export function origin(cell, found, names, jump) {
  const { letters, sizes } = cell, [owner] = found.own;
  const meanings = new Set(letters.map((letter, at) => say(`trace.letter.${letter}`, { n: whole(sizes[at]) })));
  const made = element("div", {},
    element("h3", { className: "text", textContent: `${reference(cell.name, cell.index)} = ${amount(found.value)}` }),
    element("p", { className: "lead" },
      element("span", { className: "text", textContent: `(${letters.join(", ")}) = (${sizes.join(", ")})` }),
      ...[...meanings].map((text) => element("span", { className: "meaning", textContent: text }))),
    element("p", { textContent: say(`trace.rule.${found.rule}`, { own: owner ? nameOf(owner, names) : "" }) }),
    terms(cell, found, names, jump),
    element("p", { className: "readout sum" }, ...check(found).map((text) => element("span", { textContent: text }))));
  const code = element("div", {},
    element("h3", { textContent: say("trace.source") }),
    element("p", { className: "sheet text source" },
      element("span", { textContent: `${found.source.path}:${found.source.number}` }),
      element("code", { textContent: found.source.code })),
    element("h3", { textContent: say("trace.snippet") }),
    element("p", { className: "lead", textContent: say("trace.where", { file: found.file }) }),
    ...withCopyButton(found.snippet));
  return [made, code];
}

/** What the terms make, beside what the model computed. @param {Trace} found */
function check({ rule, total, made, own, value }) {
  const off = Math.abs(made - value), key = off < ROUNDING * (1 + Math.abs(value)) ? "check" : "apart";
  return [
    say(`trace.sum.${rule}`, { total: amount(total), made: amount(made), own: amount(own[1] ?? 0) }),
    say(`trace.${key}`, { value: amount(value), off: amount(off) }),
  ];
}

/** As Python writes it. @param {string} name @param {number[]} index */
const reference = (name, index) => `${name}[${index.join(", ")}]`;

/** The terms as bars, to both sides of 0 where there are both, the largest first.
 * @param {Cell} cell @param {Trace} found @param {Names} names @param {Jump} jump */
function terms(cell, { terms, count, rest }, names, jump) {
  const values = terms.map(([, value]) => value), most = furthest(values) || 1;
  const zero = values.some((value) => value < 0) ? 50 : 0;
  /** @param {string} name @param {number} value */
  const line = (name, value, track = element("span"), from = element("span")) => element("li", {},
    element("span", { textContent: name }), track,
    element("span", { className: "value", textContent: amount(value) }), from);
  const links = (/** @type {Label} */ label) => (FROM[cell.name]?.(cell.index, label) ?? []).map(([name, index]) =>
    button(reference(name, index), () => jump(name, index), { className: "text" }));
  return element("ol", { className: "terms" },
    ...terms.map(([label, value]) =>
      line(nameOf(label, names), value, bar(value / most, zero), element("span", {}, ...links(label)))),
    ...(count > terms.length ? [line(say("trace.rest", { count: whole(count - terms.length) }), rest)] : []));
}

/** @param {number} part from -1 to 1 @param {number} zero where 0 is, in percent */
function bar(part, zero) {
  const width = Math.abs(part) * (100 - zero), marginLeft = `${part < 0 ? zero - width : zero}%`;
  return element("span", { className: zero ? "track signed" : "track" },
    element("span", { className: part < 0 ? "bar minus" : "bar", style: { width: `${width}%`, marginLeft } }));
}

/** @param {Label} label @param {Names} names */
function nameOf([name, ...numbers], { characters, vocabulary }) {
  const [first, second] = numbers;
  if (name === "position" && numbers.length) return `${first} ${glyph(characters[+first])}`;
  if (name === "character") return `${first} ${glyph(vocabulary[+first])}`;
  return say(`trace.term.${name.replace(/\W/g, "_")}`, { first, second });
}

/** @param {string} text */
function withCopyButton(text) {
  const shown = element("pre", { className: "sheet text", textContent: text });
  const copy = button(say("trace.copy"), async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = say("trace.copied");
    } catch { // where it is not allowed, it is one key away
      getSelection()?.selectAllChildren(shown);
      copy.textContent = say("trace.selected");
    }
  });
  return [shown, copy];
}
