// One call at a time: of all that come meanwhile, only the last is made.

/**
 * Typing or holding an arrow key asks faster than the model answers, and only the latest answer is wanted.
 * @template {any[]} Arguments @param {(...given: Arguments) => Promise<void>} work
 * @returns {(...given: Arguments) => Promise<void>} ends when nothing is left to do
 */
export function latestOnly(work) {
  /** @type {Arguments | undefined} */
  let waiting;
  /** @type {Promise<void> | undefined} */
  let working;
  const catchUp = async () => {
    try {
      while (waiting) {
        const now = waiting;
        waiting = undefined;
        await work(...now);
      }
    } finally {
      working = undefined;
    }
  };
  return (...given) => {
    waiting = given;
    return (working ??= catchUp());
  };
}
