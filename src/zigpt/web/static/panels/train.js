// Train: a run as it happens, read against what counting reaches on the same text.

import { foldedTable, lossChart } from "../charts.js";
import { element } from "../elements.js";
import { fixed, oneLine, say, whole } from "../i18n.js";
import { evaluationsOf } from "../state.js";
import { controls, startForm } from "./control.js";
/** @import { Evaluation, Row, Run, State } from "../types.js" */

const SAMPLE = 160; // characters that are shown

/** @param {State} state @param {HTMLElement} place */
export function train(state, place) {
  if (state.run) progress(state, state.run, place);
  else invitation(state, place);
}

/** Where there is no run. @param {State} state @param {HTMLElement} place */
function invitation(state, place) {
  const lead = element("p", { className: "lead" }), buttons = controls(state), form = startForm(state);
  place.append(lead, buttons.element, form);
  const show = () => {
    const { model } = state, isStarting = state.state === "starting";
    form.hidden = isStarting;
    const idle = !model ? "start.lead" : model.trouble ? "train.gone" : "train.model.only";
    lead.textContent = say(isStarting ? "start.soon" : idle);
    buttons.show();
  };
  state.receive = show;
  show();
}

/** @param {State} state @param {Run} run @param {HTMLElement} place */
function progress(state, run, place) {
  const facts = element("dl", { className: "facts" }), end = element("p", { className: "lead" });
  const buttons = controls(state), chart = element("div", { className: "sheet" }), rows = element("tbody");
  const table = foldedTable("train.table", ["train.step", "train.line.train", "train.line.val", "train.speed"], rows);
  const samples = element("ol", { className: "samples" });
  place.append(
    element("p", { className: "lead", textContent: say("train.lead") }),
    facts, end, buttons.element, chart, table,
    element("h3", { textContent: say("train.samples") }), samples,
    element("details", { id: "another" }, element("summary", { textContent: say("start.another") }), startForm(state)),
  );
  state.caption = [say("export.corpus", { name: oneLine(run.text.name), characters: whole(run.text.characters) })];
  const drawChart = () => {
    const evaluations = evaluationsOf(state), { max_steps } = run.training;
    chart.replaceChildren(evaluations.length
      ? lossChart(evaluations, run.ladder, max_steps, chart.clientWidth) : say("train.empty"));
  };
  const show = () => {
    const evaluations = evaluationsOf(state);
    buttons.show();
    facts.replaceChildren(...factsOf(state, run, evaluations).map(([name, value]) =>
      element("div", {}, element("dt", { textContent: say(name) }), element("dd", { textContent: value }))));
    end.textContent = state.end?.early
      ? say("train.early", { step: whole(state.end.best_step), patience: run.training.patience }) : "";
    drawChart();
    rows.replaceChildren(...evaluations.map((row) => element("tr", {},
      ...[whole(row.step), fixed(row.train_loss), fixed(row.val_loss), speed(row)]
        .map((text) => element("td", { textContent: text })))));
    samples.replaceChildren(...state.samples.map(({ step, text }) =>
      element("li", {}, element("span", { textContent: `${say("train.step")} ${whole(step)}` }),
        element("span", { className: "text", textContent: beginning(text.slice(run.prompt.length)) }))));
  };
  state.receive = show;
  new ResizeObserver(drawChart).observe(chart);
  show();
}

/** @param {Row} row */
const speed = (row) => (row.chars_per_second ? whole(Math.round(row.chars_per_second)) : "–");

/** @param {string} text */
const beginning = (text) => oneLine(Array.from(text.trimEnd()).slice(0, SAMPLE).join(""));

/** @param {State} state @param {Run} run @param {Evaluation[]} evaluations
 * @returns {[string, string][]} */
function factsOf(state, run, evaluations) {
  const last = state.rows.at(-1), evaluation = evaluations.at(-1), { max_steps } = run.training;
  const activity = state.state === "stopped" && state.end ? "finished" : state.state;
  const left = activity === "training" && last?.step ? (last.seconds / last.step) * (max_steps - last.step) : null;
  return [
    ["train.state", say(`state.${activity}`)],
    ["train.step", last ? `${whole(Math.max(last.step, state.saved))} / ${whole(max_steps)}` : "–"],
    ["train.val", evaluation ? fixed(evaluation.val_loss) : "–"],
    ["train.beats", evaluation?.beats ?? say("train.nothing")],
    ["train.speed", last ? speed(last) : "–"],
    ["train.left", left === null ? "–" : left < 100
      ? say("train.seconds", { seconds: Math.ceil(left) })
      : say("train.minutes", { minutes: Math.ceil(left / 60) })],
  ];
}
