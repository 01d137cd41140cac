import type { Operation } from "./operation.js";

type Messages<T> = AsyncGenerator<T, void, undefined>;

/**
 * A stream that begins with the first `next()`, and that can be left at any time: `return()` ends
 * it at once, also while a `next()` waits, for which a plain generator would wait, too.
 *
 * @param begin - begins the operation that the stream is
 * @param read - reads its messages
 */
export function leavable<T>(
  begin: () => Operation,
  read: (operation: Operation) => Messages<T>,
): Messages<T> {
  let operation: Operation | undefined;
  let left = false;

  async function* messages(): Messages<T> {
    using begun = begin();
    operation = begun;
    yield* read(begun);
  }

  const source = messages();
  const leave = async (): Promise<IteratorResult<T, void>> => {
    left = true;
    operation?.end(new Error("the stream was left"));
    return source.return();
  };
  return {
    async next() {
      try {
        return await source.next();
      } catch (error) {
        if (left) {
          return { done: true, value: undefined };
        }
        throw error;
      }
    },
    return: leave,
    throw: (error) => source.throw(error),
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await leave();
    },
  };
}
