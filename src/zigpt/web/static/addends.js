// Numbers that add up to one, as bars to both sides of nothing.

import { element } from "./elements.js";
import { fixed } from "./words.js";

/**
 * The largest first, each from zero; or, in a chain, as they come, each from where the one before ended.
 * @param {[string, number][]} addends @param {string} sum what it is called @param {boolean} isChain
 */
export function addendBars(addends, sum, isChain) {
  const total = sumOf(addends);
  const shown = isChain ? addends : addends.toSorted(([, one], [, other]) => Math.abs(other) - Math.abs(one));
  let end = 0;
  const spans = shown.map(([name, value]) => {
    const from = isChain ? end : 0;
    end = from + value;
    return { name, value, from };
  });
  spans.push({ name: sum, value: total, from: 0 });
  const ends = spans.flatMap(({ from, value }) => [from, from + value]);
  const lowest = Math.min(0, ...ends), width = Math.max(1e-9, Math.max(0, ...ends) - lowest);
  const share = (/** @type {number} */ value) => `${(100 * value) / width}%`;
  return element("ol", { className: "addends" }, ...spans.map(({ name, value, from }, at) => {
    const bar = element("i", { className: value < 0 ? "minus" : "plus" }), zero = element("i", { className: "zero" });
    bar.style.left = share(Math.min(from, from + value) - lowest);
    bar.style.width = share(Math.abs(value));
    zero.style.left = share(-lowest);
    const made = element("li", { className: at === addends.length ? "sum" : "" },
      element("span", { textContent: name }), element("span", { className: "track" }, zero, bar),
      element("span", { textContent: signed(value) }));
    made.dataset.value = String(value);
    return made;
  }));
}

/** @param {[string, number][]} addends */
export const sumOf = (addends) => addends.reduce((sum, [, value]) => sum + value, 0);

/** @param {number} value */
const signed = (value) => `${value < 0 ? "−" : "+"}${fixed(Math.abs(value))}`;
