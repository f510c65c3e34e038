// Write: the model continues a prompt, and every character tells how it came to be chosen.

import { ask, attemptIn, refusal, write as request } from "../api.js";
import { shadeLegend } from "../charts.js";
import { button, byId, element } from "../elements.js";
import { fixed, glyph, oneLine, percent, say, unknownCharacter } from "../i18n.js";
import { momentName, timeline } from "../timeline.js";
import { SETTINGS } from "../view.js";
import { dissection, letterOf, shadeOf, sourceOf, summaryOf } from "./letters.js";
/** @import { Draft, Letter, ModelState, Settings, Writing } from "../types.js" */

const FIELDS = /** @type {const} */ ({
  length: [300, { min: 1, max: 10000, step: 1 }],
  temperature: [1, { min: 0, max: 10, step: 0.05 }],
  top_k: [0, { min: 0, max: 1000000, step: 1 }],
  top_p: [1, { min: 0.01, max: 1, step: 0.01 }],
  min_p: [0, { min: 0, max: 1, step: 0.01 }],
  repetition_penalty: [1, { min: 0.01, max: 100, step: 0.01 }],
  seed: [1, { min: 0, max: 4294967295, step: 1 }],
});
const PAUSE = 100; // milliseconds: whoever moves on sooner does not want this character's stages

/** @param {ModelState} state @param {HTMLElement} place */
export function write(state, place) {
  const { view, run } = state, wasWriting = Boolean(state.writing?.request);
  state.writing?.request?.abort();
  if (state.writing) state.writing.request = undefined; // it wrote to a panel that is gone
  const usual = Object.fromEntries(SETTINGS.map((name) => [name, FIELDS[name][0]]));
  const settings = /** @type {Draft["settings"]} */ (
    { prompt: run?.prompt ?? "", ...usual, ...view.settings, at: view.at });
  const isNew = JSON.stringify(state.writing?.draft.settings) !== JSON.stringify(settings);
  if (!state.writing || isNew) state.writing = { draft: { settings, letters: [] }, branches: [], request: undefined };
  const panel = new WritePanel(state, state.writing);
  place.append(...panel.parts());
  panel.show();
  // As the address says, or from where it was.
  if (isNew ? "prompt" in view.settings && panel.form.element.reportValidity() : wasWriting) panel.resume();
  else panel.compare();
}

class WritePanel {
  #isCut = false; // by a server that went away
  #latest = 0; // explanation
  #sheet = element("div", { className: "output sheet text", role: "group" });
  #copied = element("p", { id: "copied", role: "status" });
  #choice = element("p", { "aria-live": "polite" });
  #source = element("div");
  #stages = element("div");
  #trouble = element("p", { className: "trouble", role: "status" });

  /** @param {ModelState} state @param {Writing} writing */
  constructor(state, writing) {
    this.state = state;
    this.writing = writing;
    const form = this.form = settingsForm(state, writing);
    form.back.onclick = () => this.#goBack();
    form.element.onsubmit = (event) => {
      event.preventDefault();
      this.#start();
    };
    state.receive = ({ kind }) => {
      if (kind === "snapshots") form.time.show();
      if (kind !== "back") return;
      if (this.#isCut) this.resume();
      else this.compare();
    };
  }

  parts() {
    return [
      element("p", { className: "lead", textContent: say("write.lead") }), this.form.element, this.#sheet,
      shadeLegend(say("write.unlikely"), [shadeOf(0.001), shadeOf(1)], say("write.likely")),
      this.#copied, this.#choice, this.#source, this.#stages, this.#trouble,
    ];
  }

  /** Show the draft from the beginning. */
  show() {
    const { draft: { settings, letters }, branches } = this.writing;
    this.#sheet.replaceChildren(element("b", { textContent: settings.prompt }));
    for (const letter of letters) this.#add(letter);
    for (const place of [this.#source, this.#stages]) place.replaceChildren();
    for (const place of [this.#trouble, this.#choice, this.#copied]) place.textContent = "";
    this.form.back.hidden = !branches.length;
    this.state.caption = [say("export.text", { text: oneLine(settings.prompt) }), momentName(settings.at)];
  }

  /** @param {Letter} letter */
  #add(letter) {
    const at = this.#sheet.childElementCount - 1;
    this.#sheet.append(letterOf(letter, this.#sheet, () => this.#explain(at)));
  }

  /** After the prompt. @param {number} at */
  #letterAt = (at) => /** @type {HTMLElement} */ (this.#sheet.children[at + 1]);

  /** Write what the form asks for. */
  #start() {
    const { state, writing } = this, settings = this.form.settings();
    const unknown = unknownCharacter(state.model, settings.prompt);
    if (unknown) {
      this.#trouble.textContent = say("subject.unknown", { character: glyph(unknown) });
      return;
    }
    state.view.settings = settings;
    state.keep();
    writing.draft = { settings: { ...settings, at: state.view.at }, letters: [] };
    writing.branches = [];
    this.resume();
  }

  /** Continue the draft, up to as many characters as were asked for. */
  async resume() {
    const { writing } = this, { settings, letters } = writing.draft;
    writing.request?.abort();
    const own = (writing.request = new AbortController());
    const isCurrent = () => this.state.writing === writing && writing.request === own;
    this.#isCut = false;
    this.show();
    this.form.stop.disabled = false;
    try {
      const body = { ...settings, length: settings.length - letters.length, after: textOf(letters) };
      for await (const letter of request(body, own.signal)) {
        if (!isCurrent()) return own.abort(); // another one writes by now, or none
        letters.push(letter);
        this.#add(letter);
      }
      byId("announcement").textContent = this.#sheet.textContent;
    } catch (error) {
      this.#isCut = !own.signal.aborted;
      if (this.#isCut) this.#trouble.textContent = refusal(error);
    }
    if (!isCurrent()) return;
    writing.request = undefined;
    this.form.stop.disabled = true;
    if (!this.#isCut) await this.compare();
  }

  /** Underline what is copied from the training text. */
  async compare() {
    const { draft } = this.writing, { letters } = draft;
    if (!letters.length) return;
    await attemptIn(this.#copied)(async () => {
      this.#copied.textContent = say("write.comparing");
      draft.copies ??= await ask("copies", { text: textOf(letters) });
      if (this.writing.draft !== draft) return; // another branch is shown by now
      this.#copied.textContent = summaryOf(draft.copies, letters.length);
      for (const { start, length } of draft.copies.passages ?? []) {
        for (let at = start; at < start + length; at++) this.#letterAt(at).classList.add("copied");
      }
    });
  }

  /** Tell how a character came to be chosen. @param {number} at */
  async #explain(at) {
    const { copies, settings, letters } = this.writing.draft, letter = letters[at], own = ++this.#latest;
    this.#choice.textContent = say(letter.forced ? "write.forced" : "write.choice", {
      character: glyph(letter.character), probability: percent(letter.probability),
      drawn: percent(letter.drawn_with), number: fixed(letter.number, 4),
    });
    this.#source.replaceChildren(...sourceOf(copies, at, letters));
    await new Promise((wake) => setTimeout(wake, PAUSE));
    if (own !== this.#latest) return;
    try {
      const draw = await ask("redraw", { ...settings, after: textOf(letters.slice(0, at)), number: letter.number });
      if (own !== this.#latest) return;
      this.#stages.replaceChildren(...dissection(draw, letter, settings, (other) => this.#branch(at, other)));
    } catch (error) {
      this.#stages.textContent = refusal(error);
    }
  }

  /** Put another character in one place, and write on from there. @param {number} at @param {Partial<Letter>} other */
  #branch(at, other) {
    const { writing } = this, { draft } = writing;
    writing.branches.push({ draft, at, isUnfinished: Boolean(writing.request) });
    const letters = [...draft.letters.slice(0, at), { ...draft.letters[at], ...other }];
    writing.draft = { settings: draft.settings, letters };
    this.resume();
    this.#letterAt(at).focus();
  }

  #goBack() {
    const { writing } = this, branch = writing.branches.pop();
    if (!branch) return;
    writing.request?.abort();
    writing.request = undefined;
    this.form.stop.disabled = true;
    writing.draft = branch.draft;
    this.show();
    if (branch.isUnfinished) this.resume();
    else this.compare();
    this.#letterAt(branch.at).focus();
  }
}

/** @param {ModelState} state @param {Writing} writing */
function settingsForm(state, writing) {
  const { settings } = writing.draft;
  const prompt = element("textarea", { id: "prompt", rows: 2, value: settings.prompt });
  const numbers = SETTINGS.map((name) =>
    element("input", { type: "number", name, required: true, value: settings[name], ...FIELDS[name][1] }));
  const time = timeline(state, () => {
    state.keep();
    if (writing.draft.letters.length) form.requestSubmit(); // the same random numbers for another model
  });
  const start = button(say("write.start"), null, { className: "main", type: "submit" });
  const stop = button(say("write.stop"), () => writing.request?.abort(), { disabled: true });
  const back = button(say("write.back"), null, { id: "back" });
  const form = element("form", {},
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("write.prompt"), prompt), time.element),
    element("div", { className: "row" },
      ...numbers.map((input) => element("label", {}, say(`setting.${input.name}`), input)), start, stop, back));
  return {
    element: form, time, stop, back,
    settings: () => /** @type {Settings} */ (
      { prompt: prompt.value, ...Object.fromEntries(numbers.map((input) => [input.name, input.valueAsNumber])) }),
  };
}

/** @param {Letter[]} letters */
const textOf = (letters) => letters.map(({ character }) => character).join("");
