// Beginning a training, and steering the one that is shown.

import { refusal, train } from "../api.js";
import { element, redraw } from "../elements.js";
import { knows, say } from "../words.js";

const PRESETS = ["auto", "tiny", "laptop", "seed", "gpu"];
/** @type {readonly string[]} */
const NOTHING = [];
/** What can be wished of a training in each state, the most likely first. */
const WISHES = /** @type {const} */ ({
  starting: ["stop"],
  training: ["pause", "stop"],
  waiting: ["go", "step", "stop"],
  stopped: ["go"],
});

/** Buttons for the state there is; `show` draws them again. @param {any} state */
export function wheel(state) {
  const buttons = element("div", { className: "row" });
  const trouble = element("p", { className: "trouble", role: "alert" });
  /** @type {readonly string[]} */
  let drawn = NOTHING;
  const show = () => {
    trouble.textContent = state.trouble ? troubleOf(state.trouble) : "";
    const wishes = wishesOf(state);
    if (drawn === wishes) return;
    drawn = wishes;
    redraw(buttons, ...wishes.map((wish, at) => element("button", {
      type: "button", id: `wish-${wish}`, className: at ? "" : "main", textContent: say(`wish.${wish}`),
      onclick: () => asking(trouble, { do: wish }),
    })));
  };
  return { element: element("div", {}, buttons, trouble), show };
}

/** Why a training ended, and what it said itself. @param {{code: number, said: string}} trouble */
function troubleOf({ code, said }) {
  const known = `trouble.${code}`;
  return [say(knows(known) ? known : "trouble.1"), said].join("\n");
}

/** @param {any} state @returns {readonly string[]} */
function wishesOf(state) {
  const isOver = !state.run || endOf(state).isOver;
  return state.state === "stopped" && isOver ? NOTHING : WISHES[/** @type {keyof typeof WISHES} */ (state.state)];
}

/** Whether a run is over, and whether that came early: no better for as many looks as its patience has. @param {any} state */
export function endOf({ run, rows }) {
  const { max_steps: last, patience } = run.training;
  const measured = rows.filter((/** @type {any} */ row) => row.test_loss !== null);
  const losses = measured.map((/** @type {any} */ row) => row.test_loss), best = losses.indexOf(Math.min(...losses));
  const isEarly = patience > 0 && measured.length - 1 - best >= patience && rows.at(-1).step < last;
  return { isOver: isEarly || rows.at(-1)?.step >= last, isEarly, best: measured[best]?.step ?? 0, patience };
}

/** The form that begins a training. @param {any} state */
export function starter(state) {
  const text = element("textarea", { name: "pasted", rows: 5, placeholder: say("start.placeholder") });
  const file = element("input", { type: "file", accept: ".txt,.md,text/plain" });
  const preset = element("select", { name: "preset" }, ...PRESETS.map((name) =>
    element("option", { value: name, textContent: say(`preset.${name}`) })));
  const minutes = element("input", { type: "number", name: "minutes", min: 0.1, max: 2000, step: "any", placeholder: "–" });
  const trouble = element("p", { className: "trouble", role: "alert" });
  const form = element("form", { id: "starter" },
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("start.text", { text: state.text ?? say("start.default") }), text),
      element("label", {}, say("start.file"), file),
      element("label", {}, say("start.preset"), preset),
      element("label", {}, say("start.minutes"), minutes),
      element("button", { className: "main", type: "submit", textContent: say("wish.start") })),
    trouble);
  file.onchange = async () => {
    const chosen = file.files?.[0];
    if (chosen) text.value = await chosen.text();
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    asking(trouble, {
      do: "start", text: text.value || null, preset: preset.value,
      minutes: Number.isNaN(minutes.valueAsNumber) ? null : minutes.valueAsNumber,
    });
  };
  return form;
}

/** @param {HTMLElement} trouble where a refusal is shown @param {object} wish */
async function asking(trouble, wish) {
  trouble.textContent = "";
  try {
    await train(wish);
  } catch (error) {
    trouble.textContent = refusal(error);
  }
}
