import { createRegistry, type DescMessage, equals, type MessageShape } from "@bufbuild/protobuf";

// Fields that are newer than this client count, too.
const EXACTLY = { registry: createRegistry(), unknown: true };

/** Whether two messages say the same. */
export function same<T extends DescMessage>(
  schema: T,
  one: MessageShape<T>,
  other: MessageShape<T>,
): boolean {
  return equals(schema, one, other, EXACTLY);
}
