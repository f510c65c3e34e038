// Write: the model continues a prompt, and every character says how it came to be chosen.

import { ask, lines, refusal } from "../api.js";
import { copiesOf, sourceOf, summaryOf } from "../copies.js";
import { dissection } from "../dissection.js";
import { byId, element } from "../elements.js";
import { tint } from "../field.js";
import { ramp } from "../legend.js";
import { momentName, timeline } from "../moment.js";
import { SETTINGS } from "../view.js";
import { fixed, glyph, percent, plain, say, strangerTo } from "../words.js";

const FIELDS = /** @type {const} */ ({
  length: [300, { min: 1, max: 10000, step: 1 }],
  temperature: [1, { min: 0, max: 10, step: 0.05 }],
  top_k: [0, { min: 0, max: 1000000, step: 1 }],
  top_p: [1, { min: 0.01, max: 1, step: 0.01 }],
  seed: [1, { min: 0, max: 4294967295, step: 1 }],
});
const PAUSE = 100; // milliseconds: who walks on sooner does not want to see this character's stages

/**
 * @typedef {object} Letter
 * @property {string} character
 * @property {number} probability
 * @property {number} drawn_with
 * @property {number} number the random number
 * @property {boolean} [forced] put there by a person
 */

/** @param {any} state @param {HTMLElement} place */
export function write(state, place) {
  const wasWriting = Boolean(state.writing);
  state.writing?.abort(); // it wrote to a panel that is gone
  state.writing = undefined;
  const { view } = state;
  const usual = Object.fromEntries(SETTINGS.map((name) => [name, FIELDS[name][0]]));
  const asked = { prompt: state.run?.prompt ?? "", ...usual, ...view.asked };
  const wanted = { ...asked, at: view.at };
  const isNew = JSON.stringify(state.written?.asked) !== JSON.stringify(wanted);
  if (isNew) {
    Object.assign(state, { written: { asked: wanted, letters: [] }, older: [] });
  }
  const prompt = element("textarea", { id: "prompt", rows: 2, value: asked.prompt });
  const numbers = SETTINGS.map((name) =>
    element("input", { type: "number", name, required: true, value: asked[name], ...FIELDS[name][1] }));
  const time = timeline(state, () => {
    state.keep();
    if (state.written.letters.length) form.requestSubmit(); // the same draws from another model
  });
  const go = element("button", { className: "main", type: "submit", textContent: say("write.go") });
  const stop = element("button", { type: "button", disabled: true, textContent: say("write.stop") });
  const back = element("button", { id: "back", type: "button", textContent: say("write.back") });
  const form = element("form", {},
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("write.prompt"), prompt), time.element),
    element("div", { className: "row" },
      ...numbers.map((input) => element("label", {}, say(`setting.${input.name}`), input)), go, stop, back));
  const out = element("div", { className: "written sheet text", role: "group" });
  const about = element("p", { className: "trouble", role: "status" });
  const copied = element("p", { id: "copied", role: "status" });
  const choice = element("p", { "aria-live": "polite" });
  const source = element("div"), stages = element("div");
  place.append(
    element("h2", { textContent: say("panel.write") }),
    element("p", { className: "lead", textContent: say("write.lead") }),
    form, out,
    ramp(say("write.unlikely"), [shadeOf(0.001), shadeOf(1)], say("write.likely")),
    copied, choice, source, stages, about,
  );

  let isCut = false; // off by a server that went away
  const letterAt = (/** @type {number} */ at) => /** @type {HTMLElement} */ (out.children[at + 1]); // after the prompt

  const show = () => {
    const { asked, letters } = state.written;
    out.replaceChildren(element("b", { textContent: asked.prompt }));
    for (const letter of letters) add(letter);
    for (const gone of [source, stages]) gone.replaceChildren();
    about.textContent = choice.textContent = copied.textContent = "";
    back.hidden = !state.older.length;
    state.told = [say("export.text", { text: plain(asked.prompt) }), momentName(asked.at)];
  };

  const add = (/** @type {Letter} */ letter) => {
    const at = out.childElementCount - 1;
    out.append(letterOf(letter, out, () => choose(at)));
  };

  /** Underline what is copied. */
  const compare = async () => {
    const { written } = state, { letters } = written;
    if (!letters.length) return;
    copied.textContent = say("write.comparing");
    try {
      written.copies ??= await copiesOf(textOf(letters));
    } catch (error) {
      copied.textContent = refusal(error);
      return;
    }
    if (state.written !== written) return; // another branch is shown by now
    copied.textContent = summaryOf(written.copies, letters.length);
    for (const { start, length } of written.copies.passages ?? []) {
      for (let at = start; at < start + length; at++) letterAt(at).classList.add("copied");
    }
  };

  /** Go on from what is written, up to as many characters as were asked for. */
  const goOn = async () => {
    state.writing?.abort();
    const writing = (state.writing = new AbortController());
    isCut = false;
    const { asked, letters } = state.written;
    show();
    stop.disabled = false;
    try {
      const rest = { ...asked, length: asked.length - letters.length, after: textOf(letters) };
      for await (const letter of lines("write", rest, writing.signal)) {
        if (state.writing !== writing) return; // another one writes by now, or none
        letters.push(letter);
        add(letter);
      }
      byId("said").textContent = out.textContent;
    } catch (error) {
      isCut = !writing.signal.aborted;
      if (isCut) about.textContent = refusal(error);
    }
    if (state.writing !== writing) return;
    state.writing = undefined;
    stop.disabled = true;
    if (!isCut) await compare();
  };

  let latest = 0;
  const choose = async (/** @type {number} */ at) => {
    const { written } = state, { asked, letters } = written, letter = letters[at];
    choice.textContent = say(letter.forced ? "write.forced" : "write.choice", {
      character: glyph(letter.character),
      probability: percent(letter.probability),
      drawn: percent(letter.drawn_with),
      number: fixed(letter.number, 4),
    });
    source.replaceChildren(...sourceOf(written.copies, at, letters));
    const mine = ++latest;
    await new Promise((wake) => setTimeout(wake, PAUSE));
    if (mine !== latest) return;
    try {
      const found = await ask("draw", { ...asked, after: textOf(letters.slice(0, at)), number: letter.number });
      if (mine === latest) stages.replaceChildren(...dissection(found, letter, asked, (other) => branch(at, other)));
    } catch (error) {
      stages.textContent = refusal(error);
    }
  };

  /** Put another character in one place, and write on from there. */
  const branch = (/** @type {number} */ at, /** @type {Partial<Letter>} */ other) => {
    const { written } = state;
    state.older.push({ written, at, isUnfinished: Boolean(state.writing) });
    const letters = [...written.letters.slice(0, at), { ...written.letters[at], ...other }];
    state.written = { asked: written.asked, letters };
    goOn();
    letterAt(at).focus();
  };

  back.onclick = () => {
    state.writing?.abort();
    state.writing = undefined;
    stop.disabled = true;
    const { written, at, isUnfinished } = state.older.pop();
    state.written = written;
    show();
    if (isUnfinished) goOn();
    else compare();
    letterAt(at).focus();
  };
  stop.onclick = () => state.writing?.abort();
  form.onsubmit = (event) => {
    event.preventDefault();
    const stranger = strangerTo(state.model, prompt.value);
    if (stranger) {
      about.textContent = say("subject.stranger", { character: glyph(stranger) });
      return;
    }
    view.asked = { prompt: prompt.value, ...Object.fromEntries(numbers.map((input) => [input.name, input.valueAsNumber])) };
    state.keep();
    state.written = { asked: { ...view.asked, at: view.at }, letters: [] };
    state.older = [];
    goOn();
  };
  state.hear = (/** @type {{kind: string}} */ { kind }) => {
    if (kind === "snapshots") time.show();
    if (kind !== "back") return;
    if (isCut) goOn();
    else compare();
  };
  show();
  if (isNew ? "prompt" in view.asked && form.reportValidity() : wasWriting) goOn(); // as the address says, or from where it was
  else compare();
}

/** @param {Letter[]} letters */
const textOf = (letters) => letters.map(({ character }) => character).join("");

/** @param {Letter} letter @param {HTMLElement} out @param {() => void} choose */
function letterOf(letter, out, choose) {
  const made = element("span", {
    className: letter.forced ? "letter forced" : "letter", role: "button", tabIndex: -1, "aria-pressed": "false",
    textContent: letter.character,
  });
  if (!out.querySelector(".letter")) made.tabIndex = 0; // one stop for the Tab key; arrows go on
  made.style.background = shadeOf(letter.probability);
  made.dataset.probability = String(letter.probability);
  made.onfocus = () => {
    for (const other of /** @type {NodeListOf<HTMLElement>} */ (out.querySelectorAll('[tabindex="0"]'))) {
      other.tabIndex = -1;
      other.setAttribute("aria-pressed", "false");
    }
    made.tabIndex = 0;
    made.setAttribute("aria-pressed", "true");
    choose();
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
  return tint("--accent", 8 + 42 * strength);
}
