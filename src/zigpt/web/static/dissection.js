// How one character was drawn: scores, temperature, top-k, top-p, and the random number among what is left.

import { element } from "./elements.js";
import { fixed, glyph, percent, say, whole } from "./words.js";

const ROOM = 0.03; // of the strip: what a part takes to have its character written in it

/**
 * @param {any} found the stages, from the server @param {any} letter what stands there
 * @param {any} asked the settings @param {(other: object) => void} branch told which character to put there instead
 * @returns {Node[]}
 */
export function dissection(found, letter, asked, branch) {
  const drawn = glyph(found.drawn);
  const [, from, to] = found.parts.find((/** @type {any[]} */ [character]) => character === found.drawn);
  const hasChanged = !letter.forced && found.drawn !== letter.character;
  return [
    element("h3", { textContent: say("write.stages", { character: drawn }) }),
    ...(hasChanged ? [element("p", { className: "trouble", textContent: say("write.changed") })] : []),
    strip(found, letter.number),
    element("p", { id: "falls", textContent: say("write.falls", {
      character: drawn, number: fixed(letter.number, 4), from: fixed(from, 4), to: fixed(to, 4),
    }) }),
    table(found, letter, asked, branch),
    element("p", { className: "lead", textContent: say("write.branch", {
      others: whole(found.others), share: percent(found.others_share),
    }) }),
  ];
}

/** All probabilities side by side, from 0 to 1, and where the random number falls. @param {any} found @param {number} number */
function strip(found, number) {
  const marker = element("b", { textContent: fixed(number, 4) });
  marker.style.left = `${100 * number}%`;
  if (number > 0.5) marker.className = "left";
  const parts = found.parts.map((/** @type {[string, number, number]} */ [character, from, to]) => {
    const part = element("span", {
      className: character === found.drawn ? "drawn" : "", title: `${glyph(character)} ${percent(to - from)}`,
      textContent: to - from >= ROOM ? glyph(character) : "",
    });
    part.style.left = `${100 * from}%`;
    part.style.width = `${100 * (to - from)}%`;
    return part;
  });
  return element("div", { className: "cdf text", "aria-hidden": "true" }, ...parts, marker);
}

/** @param {any} found @param {any} letter @param {any} asked @param {(other: object) => void} branch */
function table(found, letter, asked, branch) {
  const { temperature, top_k, top_p } = asked;
  const heads = [
    say("write.candidate"), say("write.logit"), say("write.scaled", { temperature }),
    top_k ? say("write.softmax.k", { top_k }) : say("write.softmax"),
    top_p < 1 ? say("write.rest.p", { top_p }) : say("write.rest"),
  ];
  const most = Math.max(...found.candidates.flatMap((/** @type {any} */ each) => [each.softmax, each.drawn_with]));
  const lines = found.candidates.map((/** @type {any} */ each) => {
    const { character, probability, drawn_with, dropped } = each;
    const name = glyph(character);
    const stands = character === letter.character;
    const put = () => branch({ character, probability, drawn_with, forced: character !== found.drawn });
    const own = stands
      ? element("b", { className: "text", textContent: name })
      : element("button", {
        type: "button", className: "text", textContent: name, "aria-label": say("write.instead", { character: name }),
        onclick: put,
      });
    const made = element("tr", { className: character === found.drawn ? "marked" : "" },
      element("th", { scope: "row" }, own),
      element("td", { textContent: fixed(each.logit) }),
      element("td", { textContent: each.scaled === null ? "−∞" : fixed(each.scaled) }),
      dropped === "top_k" ? gone("write.dropped.k") : shareOf(each.softmax, most),
      dropped === "top_k" ? gone() : dropped === "top_p" ? gone("write.dropped.p") : shareOf(drawn_with, most));
    made.dataset.character = character;
    return made;
  });
  return element("div", { className: "stages" }, element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((name) => element("th", { scope: "col", textContent: name })))),
    element("tbody", {}, ...lines)));
}

/** @param {string} [why] */
const gone = (why) => element("td", { className: "gone", textContent: why ? say(why) : "" });

/** @param {number} share @param {number} most */
function shareOf(share, most) {
  const bar = element("i");
  bar.style.width = `${(100 * share) / most}%`;
  return element("td", { className: "share" }, element("span", {}, bar), percent(share));
}
