import type * as z from 'zod';

/**
 * What a helper sent, by its schema. Fields that the schema does not know stay as they are: a newer helper of the same
 * major version may say more. (What a client sends is parsed strictly, so that no wish is dropped in silence.)
 */
export function parseReceived(
  schema: z.ZodType,
  value: unknown,
): { readonly success: true; readonly data: unknown } | { readonly success: false; readonly error: z.ZodError } {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed;
  const isMore = parsed.error.issues.every((issue) => issue.code === 'unrecognized_keys');
  // No schema of the wire transforms: but for the additional fields the value is what the schema describes.
  return isMore ? { success: true, data: value } : { success: false, error: parsed.error };
}
