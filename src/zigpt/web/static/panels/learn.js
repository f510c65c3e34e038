// Learn: a run as it happens, read against what counting reaches on the same text.

import { watch } from "../api.js";
import { lossChart } from "../chart.js";
import { element } from "../elements.js";
import { endOf, starter, wheel } from "./steer.js";
import { folded } from "../table.js";
import { fixed, plain, say, whole } from "../words.js";

const ADDED = { rows: true, samples: true };
const SHOWN = 160; // characters of each sample

/** @param {any} state @param {HTMLElement} place */
export function learn(state, place) {
  const { run } = state;
  const steering = wheel(state);
  place.append(element("h2", { textContent: say("panel.learn") }));
  if (!run) {
    const waiting = element("p", { className: "lead" });
    const form = starter(state);
    place.append(waiting, steering.element, form);
    state.hear = () => {
      form.hidden = state.state === "starting";
      waiting.textContent = say(leadOf(state));
      steering.show();
    };
    return state.hear();
  }

  const facts = element("dl", { className: "facts" });
  const end = element("p", { className: "lead" });
  const chart = element("div", { className: "sheet" });
  const rows = element("tbody");
  const names = ["learn.step", "learn.train.line", "learn.test.line", "learn.speed"];
  const table = folded("learn.table", names, rows);
  const strip = element("ol", { className: "strip" });
  place.append(
    element("p", { className: "lead", textContent: say("learn.lead") }),
    facts, end, steering.element, chart, table,
    element("h3", { textContent: say("learn.strip") }), strip,
    element("details", { id: "another" }, element("summary", { textContent: say("start.another") }), starter(state)),
  );
  state.told = [say("export.corpus", { name: plain(run.text.name), characters: whole(run.text.characters) })];
  state.hear = () => {
    steering.show();
    facts.replaceChildren(...factsOf(state).map(([name, value]) =>
      element("div", {}, element("dt", { textContent: say(name) }), element("dd", { textContent: value }))));
    const measured = state.rows.filter((/** @type {any} */ row) => row.test_loss !== null);
    const { isEarly, best, patience } = endOf(state);
    end.textContent = isEarly ? say("learn.early", { step: whole(best), patience }) : "";
    draw();
    rows.replaceChildren(...measured.map((/** @type {any} */ row) => element("tr", {},
      ...[whole(row.step), fixed(row.train_loss), fixed(row.test_loss), speed(row)]
        .map((text) => element("td", { textContent: text })))));
    strip.replaceChildren(...samplesOf(state.samples, run.prompt).map(([step, text]) =>
      element("li", {}, element("span", { textContent: `${say("learn.step")} ${whole(Number(step))}` }),
        element("span", { className: "text", textContent: text }))));
  };
  const draw = () => chart.replaceChildren(state.rows.some((/** @type {any} */ row) => row.test_loss !== null)
    ? lossChart(state.rows, run.ladder, run.training.max_steps, chart.clientWidth)
    : say("learn.empty"));
  new ResizeObserver(draw).observe(chart);
  state.hear();
}

/**
 * Listen to what happens for as long as the page is open.
 * @param {any} state @param {(event: any) => void} hear told after each event, which is in `state` already
 */
export function listen(state, hear) {
  Object.assign(state, { rows: [], samples: "", state: "stopped", saved: 0, trouble: null });
  watch((event) => {
    const isKnown = event.kind === "model" && event.value === (state.version ?? state.model?.version);
    if (!(event.kind in ADDED)) state[event.kind === "model" ? "version" : event.kind] = event.value;
    else if (event.again) state[event.kind] = event.value;
    else state[event.kind] = state[event.kind].concat(event.value);
    hear(event);
    if (!isKnown) state.hear?.(event); // whoever is reading or clicking is not disturbed for nothing
  }, (lost) => {
    if (!lost) Object.assign(state, { rows: [], samples: "" }); // a new watch tells all from the beginning
    const isBack = state.isLost && !lost;
    state.isLost = lost;
    state.warn?.();
    if (isBack) state.hear?.({ kind: "back" });
  });
}

/** What is to be said where there is no run. @param {any} state */
function leadOf({ state, model }) {
  if (state === "starting") return "start.soon";
  if (!model) return "start.lead";
  return model.trouble ? "learn.gone" : "learn.model.only";
}

/** @param {{chars_per_second: number | null}} row */
const speed = (row) => (row.chars_per_second ? whole(Math.round(row.chars_per_second)) : "–");

/** @param {any} all @returns {[string, string][]} */
function factsOf(all) {
  const { run, rows, state } = all;
  const last = rows.at(-1), { isOver } = endOf(all);
  const measured = rows.findLast((/** @type {any} */ row) => row.test_loss !== null);
  const ladder = Object.entries(run.ladder); // a rung counts if all simpler ones are beaten too
  const stands = ladder.findIndex(([, loss]) => !measured || measured.test_loss >= loss);
  const beaten = ladder.slice(0, stands < 0 ? ladder.length : stands).sort(([, one], [, other]) => one - other)[0];
  const left = state === "training" && last?.step ? (last.seconds / last.step) * (run.training.max_steps - last.step) : null;
  return [
    ["learn.state", say(state === "stopped" && isOver ? "state.finished" : `state.${state}`)],
    ["learn.step", last ? `${whole(Math.max(last.step, all.saved))} / ${whole(run.training.max_steps)}` : "–"],
    ["learn.test", measured ? fixed(measured.test_loss) : "–"],
    ["learn.beats", beaten ? beaten[0] : say("learn.nothing")],
    ["learn.speed", last ? speed(last) : "–"],
    ["learn.left", left === null ? "–" : left < 100
      ? say("learn.seconds", { seconds: Math.ceil(left) })
      : say("learn.minutes", { minutes: Math.ceil(left / 60) })],
  ];
}

/** @param {string} samples @param {string} prompt @returns {[string, string][]} */
function samplesOf(samples, prompt) {
  const parts = samples.split(/^════ step (\d+) ════\n/m).slice(1);
  /** @type {[string, string][]} */
  const found = [];
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const text = parts[at + 1].slice(prompt.length);
    found.push([parts[at], plain(Array.from(text.trimEnd()).slice(0, SHOWN).join(""))]);
  }
  return found;
}
