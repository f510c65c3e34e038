// How the page talks to the server it came from: JSON there, JSON or lines of JSON back.

import { language, say } from "./i18n.js";
/** @import { Answers, Attempt, Letter, ServerEvent, State } from "./types.js" */

/** A refusal by the server, in its own words. */
class Refusal extends Error {
  /** @param {number} status @param {string} why */
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

class Unreachable extends Error {}

/** A refusal or a lost server, in words; anything else is a bug of ours. @param {unknown} error */
export function refusal(error) {
  if (error instanceof Unreachable) return say("lost");
  if (!(error instanceof Refusal)) throw error;
  return say(`refused.${error.status}`, { why: error.message }, "refused");
}

/** Run what may be refused, and show the refusal in a place. @param {HTMLElement} place @returns {Attempt} */
export const attemptIn = (place) => async (work) => {
  place.textContent = ""; // now, not afterwards: an attempt within this one may be refused
  try {
    await work();
  } catch (error) {
    place.textContent = refusal(error);
  }
};

/** What comes over the network, if it does. @template Kind @param {Promise<Kind>} coming @returns {Promise<Kind>} */
const reached = (coming) => coming.catch((error) => {
  throw error instanceof TypeError ? new Unreachable() : error;
});

/** @param {string} path relative: a proxy may serve the page in a folder of its own @param {RequestInit} [options] */
async function request(path, options) {
  // A refusal comes in the language of the page.
  const headers = { ...options?.headers, "Accept-Language": language() };
  const response = await reached(fetch(path, { ...options, headers }));
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Refusal(response.status, answer.error ?? response.statusText);
}

/** @param {string} path @param {unknown} body @param {AbortSignal} [signal] */
const post = (path, body, signal) => request(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
});

/** Trade the token of the address for a cookie, and take it out of the address. */
export async function enter() {
  const token = location.hash.slice(1);
  if (!token || token.startsWith("/")) return;
  history.replaceState(null, "", location.pathname);
  await post("enter", { token });
}

/** @returns {Promise<Pick<State, "run" | "model" | "snapshots" | "text" | "presets" | "longest_minutes">>} */
export const describe = async () => reached((await request("api/run")).json());

/** @template {keyof Answers} Path @param {Path} path @param {object} body @returns {Promise<Answers[Path]>} */
export const ask = async (path, body) => reached((await post(`api/${path}`, body)).json());

/** Numbers about a window of text, all in one array.
 * @param {"heads" | "attention" | "influence" | "cells"} name @param {object} body */
export const askNumbers = async (name, body) =>
  new Float32Array(await reached((await post(`api/window/${name}`, body)).arrayBuffer()));

/** Write character by character. @param {object} body @param {AbortSignal} signal @returns {AsyncGenerator<Letter>} */
export async function* write(body, signal) {
  const response = await post("api/write", body, signal);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reached(reader.read());
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
  }
}

/** Start a training run. @param {{preset: string, minutes: number | null, text: string | null}} settings */
export const startTraining = async (settings) => void (await post("api/train", settings));

/** Control the training that is shown. @param {"pause" | "step" | "resume" | "stop"} action */
export const controlTraining = async (action) => void (await post("api/control", { action }));

const RETRY_AFTER = 5000; // milliseconds, for a page that was refused

/**
 * Receive what happens in the run folder; a lost connection is made again.
 * @param {(event: ServerEvent) => void} receive @param {(isLost: boolean) => void} changed whether the server is there
 */
export function watch(receive, changed) {
  /** @type {EventSource | undefined} */
  let source;
  const open = () => {
    const opened = (source = new EventSource("api/watch"));
    opened.onmessage = (message) => receive(JSON.parse(message.data));
    opened.onopen = () => changed(false);
    opened.onerror = () => {
      changed(true);
      // The browser tries again by itself, but not after a refusal, such as that too many are watching.
      if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && open(), RETRY_AFTER);
    };
  };
  // A browser holds few connections to one server: a hidden page leaves them to the others.
  const reopen = () => {
    source?.close();
    source = undefined;
    if (!document.hidden) open();
  };
  addEventListener("visibilitychange", reopen);
  reopen();
}
