// One thing at a time: of all that is wished for meanwhile, only the last is done.

/**
 * Whoever types or holds an arrow key down asks faster than the model answers, and wants only the newest answer.
 * @template {any[]} Wish @param {(...wish: Wish) => Promise<void>} work
 * @returns {(...wish: Wish) => Promise<void>} comes to an end when nothing is left to do
 */
export function newestOnly(work) {
  /** @type {Wish | undefined} */
  let wished;
  /** @type {Promise<void> | undefined} */
  let working;
  const catchUp = async () => {
    try {
      while (wished) {
        const now = wished;
        wished = undefined;
        await work(...now);
      }
    } finally {
      working = undefined;
    }
  };
  return (...wish) => {
    wished = wish;
    return (working ??= catchUp());
  };
}
