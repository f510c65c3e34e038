// Write: the model continues a prompt, and every character says how it came to be chosen.

import { lines } from "../api.js";
import { byId, element } from "../elements.js";
import { fixed, glyph, percent, say } from "../words.js";

const FIELDS = /** @type {const} */ ([
  ["length", 300, { min: 1, max: 10000, step: 1 }],
  ["temperature", 1, { min: 0, max: 10, step: 0.05 }],
  ["top_k", 0, { min: 0, max: 1000000, step: 1 }],
  ["top_p", 1, { min: 0.01, max: 1, step: 0.01 }],
  ["seed", 1, { min: 0, max: 4294967295, step: 1 }],
]);

/** @param {any} state @param {HTMLElement} place */
export function write(state, place) {
  state.asked ??= { prompt: state.run?.prompt ?? "", ...Object.fromEntries(FIELDS.map(([name, value]) => [name, value])) };
  const prompt = element("textarea", { id: "prompt", rows: 2, value: state.asked.prompt });
  const numbers = FIELDS.map(([name, , limits]) =>
    element("input", { type: "number", name, value: state.asked[name], ...limits }));
  const go = element("button", { className: "main", type: "submit", textContent: say("write.go") });
  const stop = element("button", { type: "button", disabled: true, textContent: say("write.stop") });
  const form = element("form", {},
    element("div", { className: "row" }, element("label", { className: "wide" }, say("write.prompt"), prompt)),
    element("div", { className: "row" },
      ...numbers.map((input) => element("label", {}, say(`write.${input.name}`), input)), go, stop));
  const out = element("div", { className: "written sheet text", role: "group" });
  const about = element("p", { className: "trouble", role: "status" });
  const choice = element("p", { "aria-live": "polite" });
  const shade = element("i");
  shade.style.background = `linear-gradient(to right, ${shadeOf(0.001)}, ${shadeOf(1)})`;
  place.append(
    element("h2", { textContent: say("panel.write") }),
    element("p", { className: "lead", textContent: say("write.lead") }),
    form, out,
    element("div", { className: "legend" }, say("write.unlikely"), shade, say("write.likely")),
    choice, about,
  );

  stop.onclick = () => state.writing?.abort();
  form.onsubmit = async (event) => {
    event.preventDefault();
    state.writing?.abort();
    const writing = (state.writing = new AbortController());
    state.asked = { prompt: prompt.value, ...Object.fromEntries(numbers.map((input) => [input.name, input.valueAsNumber])) };
    out.replaceChildren(element("b", { textContent: prompt.value }));
    about.textContent = choice.textContent = "";
    stop.disabled = false;
    try {
      for await (const letter of lines("write", state.asked, writing.signal)) out.append(letterOf(letter, out, choice));
      byId("said").textContent = out.textContent;
    } catch (error) {
      if (!writing.signal.aborted) about.textContent = say("refused", { why: /** @type {Error} */ (error).message });
    }
    if (state.writing === writing) stop.disabled = true;
  };
}

/** @param {any} letter @param {HTMLElement} out @param {HTMLElement} choice */
function letterOf(letter, out, choice) {
  const made = element("span", {
    className: "letter", role: "button", tabIndex: -1, "aria-pressed": "false", textContent: letter.character,
  });
  if (!out.querySelector(".letter")) made.tabIndex = 0; // one stop for the Tab key; arrows go on
  made.style.background = shadeOf(letter.probability);
  made.dataset.probability = letter.probability;
  made.onfocus = () => {
    for (const other of /** @type {NodeListOf<HTMLElement>} */ (out.querySelectorAll('[tabindex="0"]'))) {
      other.tabIndex = -1;
      other.setAttribute("aria-pressed", "false");
    }
    made.tabIndex = 0;
    made.setAttribute("aria-pressed", "true");
    choice.textContent = say("write.choice", {
      character: glyph(letter.character),
      probability: percent(letter.probability),
      drawn: percent(letter.drawn_with),
      number: fixed(letter.number, 4),
    });
  };
  made.onclick = () => made.focus();
  made.onkeydown = (event) => {
    const way = { ArrowRight: made.nextElementSibling, ArrowLeft: made.previousElementSibling }[event.key];
    if (way instanceof HTMLElement && way.classList.contains("letter")) {
      event.preventDefault();
      way.focus();
    }
  };
  return made;
}

/** From pale to strong over four powers of ten. @param {number} probability */
function shadeOf(probability) {
  const strength = Math.max(0, 1 + Math.log10(Math.max(probability, 1e-4)) / 4);
  return `color-mix(in srgb, var(--accent) ${Math.round(8 + 42 * strength)}%, transparent)`;
}
