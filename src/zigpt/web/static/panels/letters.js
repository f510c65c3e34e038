// The characters that the model wrote: how one was drawn, and what was copied from the training text.

import { tint } from "../colormap.js";
import { button, element } from "../elements.js";
import { fixed, glyph, percent, say, whole } from "../i18n.js";
/** @import { Candidate, Copies, Draw, Letter, Settings } from "../types.js" */

/** @typedef {(other: Pick<Letter, "character" | "probability" | "drawn_with" | "forced">) => void} Branch */

const ROOM = 0.03; // of the strip: what a part takes to have its character written in it

/**
 * How a character was drawn: logits, every stage of sampling, and the random number among what is left.
 * @param {Draw} draw @param {Letter} letter what stands there @param {Settings} settings
 * @param {Branch} branch called with the character to put there instead
 * @returns {Node[]}
 */
export function dissection(draw, letter, settings, branch) {
  const character = glyph(draw.drawn), number = fixed(letter.number, 4);
  const [, from, to] = draw.parts.find(([part]) => part === draw.drawn) ?? ["", 0, 0];
  const hasChanged = !letter.forced && draw.drawn !== letter.character;
  return [
    element("h3", { textContent: say("write.stages", { character }) }),
    ...(hasChanged ? [element("p", { className: "trouble", textContent: say("write.changed") })] : []),
    strip(draw, letter.number),
    element("p", { id: "falls", textContent: say("write.falls", {
      character, number, from: fixed(from, 4), to: fixed(to, 4),
    }) }),
    candidateTable(draw, letter, settings, branch),
    element("p", { className: "lead", textContent: say("write.branch", {
      others: whole(draw.others), share: percent(draw.others_share),
    }) }),
  ];
}

/** All probabilities side by side, from 0 to 1, and where the random number falls.
 * @param {Draw} draw @param {number} number */
function strip(draw, number) {
  const parts = draw.parts.map(([character, from, to]) => element("span", {
    className: character === draw.drawn ? "drawn" : "", title: `${glyph(character)} ${percent(to - from)}`,
    textContent: to - from >= ROOM ? glyph(character) : "",
    style: { left: `${100 * from}%`, width: `${100 * (to - from)}%` },
  }));
  return element("div", { className: "cdf text", "aria-hidden": "true" }, ...parts, element("b", {
    className: number > 0.5 ? "left" : "", style: { left: `${100 * number}%` }, textContent: fixed(number, 4),
  }));
}

/** @param {Draw} draw @param {Letter} letter @param {Settings} settings @param {Branch} branch */
function candidateTable(draw, letter, { temperature, top_k, top_p, min_p, repetition_penalty }, branch) {
  const isPenalised = repetition_penalty !== 1;
  const filters = [...(top_p < 1 ? [`top-p ${top_p}`] : []), ...(min_p ? [`min-p ${min_p}`] : [])].join(", ");
  const heads = [
    say("write.candidate"), say("write.logit"),
    ...(isPenalised ? [say("write.penalised", { repetition_penalty })] : []),
    say(isPenalised ? "write.scaled.penalised" : "write.scaled", { temperature }),
    top_k ? say("write.softmax.k", { top_k }) : say("write.softmax"),
    filters ? say("write.rest.filtered", { filters }) : say("write.rest"),
  ];
  const most = Math.max(...draw.candidates.flatMap((each) => [each.softmax, each.drawn_with]));
  const lines = draw.candidates.map((candidate) => {
    const { character, logit, penalised, scaled, softmax, drawn_with, dropped } = candidate;
    return element("tr", { className: character === draw.drawn ? "marked" : "", dataset: { character } },
      element("th", { scope: "row" }, candidateOf(candidate, draw, letter, branch)),
      element("td", { textContent: fixed(logit) }),
      ...(isPenalised ? [element("td", { textContent: fixed(penalised) })] : []),
      element("td", { textContent: scaled === null ? "−∞" : fixed(scaled) }),
      dropped === "top_k" ? droppedCell("write.dropped.top_k") : shareCell(softmax, most),
      dropped === "top_k" ? droppedCell()
        : dropped === "top_p" || dropped === "min_p" ? droppedCell(`write.dropped.${dropped}`)
          : shareCell(drawn_with, most));
  });
  return element("div", { className: "stages" }, element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((name) => element("th", { scope: "col", textContent: name })))),
    element("tbody", {}, ...lines)));
}

/** The name of a candidate, as a button unless it stands there already.
 * @param {Candidate} candidate @param {Draw} draw @param {Letter} letter @param {Branch} branch */
function candidateOf({ character, probability, drawn_with }, draw, letter, branch) {
  const name = glyph(character);
  if (character === letter.character) return element("b", { className: "text", textContent: name });
  return button(name, () => branch({ character, probability, drawn_with, forced: character !== draw.drawn }),
    { className: "text", "aria-label": say("write.instead", { character: name }) });
}

/** @param {string} [why] */
const droppedCell = (why) => element("td", { className: "dropped", textContent: why ? say(why) : "" });

/** @param {number} share @param {number} most */
const shareCell = (share, most) => element("td", { className: "share" },
  element("span", {}, element("i", { style: { width: `${(100 * share) / most}%` } })), percent(share));

/** How much was copied, or why that cannot be told. @param {Copies} copies @param {number} length */
export function summaryOf({ absent, shortest = 1, longest = 0, passages = [] }, length) {
  if (absent) return say(`write.absent.${absent}`);
  const held = new Set(passages.flatMap((each) => Array.from({ length: each.length }, (_, at) => each.start + at)));
  return say(held.size ? "write.copied" : "write.invented", {
    share: percent(held.size / length), shortest: whole(shortest), longest: whole(longest),
  });
}

/**
 * Where the character at a place was copied from: the lines of the training text.
 * @param {Copies | undefined} copies @param {number} at @param {Letter[]} letters
 */
export function sourceOf(copies, at, letters) {
  const holding = (copies?.passages ?? []).filter(({ start, length }) => start <= at && at < start + length);
  return holding.map(({ start, length, line, before, after }) => {
    const passage = letters.slice(start, start + length).map(({ character }) => character).join("");
    return element("figure", { className: "passage" },
      element("figcaption", { textContent: say("write.source", {
        length: whole(length), line: whole(line), name: copies?.name ?? "",
      }) }),
      element("blockquote", { className: "sheet text" }, before, element("mark", { textContent: passage }), after));
  });
}

/** A character that was written, as an element. @param {Letter} letter @param {HTMLElement} sheet @param {() => void} chosen */
export function letterOf(letter, sheet, chosen) {
  const shown = element("span", {
    className: letter.forced ? "letter forced" : "letter", role: "button", "aria-pressed": "false",
    tabIndex: sheet.querySelector(".letter") ? -1 : 0, // one stop for the Tab key; arrows move on
    textContent: letter.character, style: { background: shadeOf(letter.probability) },
    dataset: { probability: letter.probability },
  });
  shown.onfocus = () => {
    for (const other of /** @type {NodeListOf<HTMLElement>} */ (sheet.querySelectorAll('[tabindex="0"]'))) {
      other.tabIndex = -1;
      other.setAttribute("aria-pressed", "false");
    }
    shown.tabIndex = 0;
    shown.setAttribute("aria-pressed", "true");
    chosen();
  };
  shown.onclick = () => shown.focus();
  shown.onkeydown = (event) => {
    const next = { ArrowRight: shown.nextElementSibling, ArrowLeft: shown.previousElementSibling }[event.key];
    if (next instanceof HTMLElement && next.classList.contains("letter")) {
      event.preventDefault();
      next.focus();
    }
  };
  return shown;
}

/** From pale to strong over four powers of ten. @param {number} probability */
export function shadeOf(probability) {
  const strength = Math.max(0, 1 + Math.log10(Math.max(probability, 1e-4)) / 4);
  return tint("--accent", 8 + 42 * strength);
}
