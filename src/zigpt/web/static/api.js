// How the page talks to the server it came from: JSON there, JSON or lines of JSON back.

import { knows, say } from "./words.js";

/** A refusal by the server, in its own words. */
class Refusal extends Error {
  /** @param {number} status @param {string} why */
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

/** Nobody is there to answer. */
class Silence extends Error {}

/** What is told of a refusal or of silence; anything else is a mistake of ours. @param {unknown} error */
export function refusal(error) {
  if (error instanceof Silence) return say("lost");
  if (!(error instanceof Refusal)) throw error;
  const known = `refused.${error.status}`;
  return say(knows(known) ? known : "refused", { why: error.message });
}

/** What comes over the network, if it does. @template Kind @param {Promise<Kind>} coming @returns {Promise<Kind>} */
const heard = (coming) => coming.catch((error) => {
  throw error instanceof TypeError ? new Silence() : error;
});

/** @param {string} path @param {RequestInit} [options] */
async function fetched(path, options) {
  const response = await heard(fetch(path, options));
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Refusal(response.status, told.error ?? response.statusText);
}

/** @param {unknown} body @param {AbortSignal} [signal] @returns {RequestInit} */
const post = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

/** Trade the token of the address for a cookie, and take it out of the address. */
export async function enter() {
  const token = location.hash.slice(1);
  if (!token || token.startsWith("/")) return;
  history.replaceState(null, "", location.pathname);
  await fetched("/enter", post({ token }));
}

/** The whole of an answer: a server may go in the midst of it. @param {string} path @param {RequestInit} [options] */
const answered = async (path, options) => heard((await fetched(`/api/${path}`, options)).json());

/** @param {string} path */
export const get = (path) => answered(path);

/** Ask for one thing. @param {string} path @param {unknown} body */
export const ask = (path, body) => answered(path, post(body));

/** @typedef {{text: string, at: number | null}} Window what is looked at, and the moment of training */

/**
 * Ask about the window that is looked at. @param {string} question @param {Window} seen
 * @param {object} [more] what this question needs besides
 */
export const look = (question, { text, at }, more) => ask(`look/${question}`, { text, at, ...more });

/** The same where the answer is nothing but numbers. @param {string} question @param {Window} seen
 * @param {object} [more] */
export async function numbers(question, { text, at }, more) {
  const response = await fetched(`/api/look/${question}`, post({ text, at, ...more }));
  return new Float32Array(await heard(response.arrayBuffer()));
}

/**
 * Ask for something that comes in lines, each the JSON of one thing.
 * @param {string} path @param {unknown} body @param {AbortSignal} signal
 */
export async function* lines(path, body, signal) {
  const response = await fetched(`/api/${path}`, post(body, signal));
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await heard(reader.read());
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) yield JSON.parse(part);
  }
}

/** Begin a training, or steer the one that is shown. @param {object} wish */
export const train = async (wish) => void (await fetched("/api/train", post(wish)));

const AGAIN = 5000; // milliseconds until somebody who was refused asks again

/**
 * Hear what happens in the run folder; a lost connection is made again.
 * @param {(event: any) => void} hear @param {(lost: boolean) => void} lost
 */
export function watch(hear, lost) {
  /** @type {EventSource | undefined} */
  let source;
  const listen = () => {
    const opened = (source = new EventSource("/api/watch"));
    opened.onmessage = (message) => hear(JSON.parse(message.data));
    opened.onopen = () => lost(false);
    opened.onerror = () => {
      lost(true);
      // The browser tries again by itself, but not after a refusal, such as that too many are watching.
      if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && listen(), AGAIN);
    };
  };
  // A browser holds few connections to one server: a page that nobody sees leaves them to the others.
  const mind = () => {
    source?.close();
    source = undefined;
    if (!document.hidden) listen();
  };
  addEventListener("visibilitychange", mind);
  mind();
}
