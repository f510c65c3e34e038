// Shares as bars, beside what they are shares of.

import { element } from "./elements.js";
import { percent } from "./words.js";

/**
 * @param {[string, number, string?][]} shares each with what is to be said behind it
 * @param {number} [marked] the one to point out
 */
export function bars(shares, marked = -1) {
  const most = Math.max(...shares.map(([, share]) => share), 1e-9);
  return element("ol", { className: "bars" }, ...shares.map(([name, share, note], at) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${(100 * share) / most}%`;
    return element("li", { className: at === marked ? "marked" : "" },
      element("span", { className: "text", textContent: name }), bar, element("span", { textContent: percent(share) }),
      ...(note ? [element("span", { className: "note", textContent: note })] : []));
  }));
}
