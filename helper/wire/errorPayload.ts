import { ResponseError } from 'vscode-jsonrpc/node';
import * as z from 'zod';
import { type ErrorCode, errorCodes, errorDataSchema, STRATA_RPC_ERROR, StrataError } from '../protocol/index.ts';

/** As it comes: a newer helper may say more, and have codes that this version does not know. */
const receivedSchema = z.object({ ...errorDataSchema.shape, code: z.string(), details: errorDataSchema.shape.details.catch(undefined) });
const closeReasonSchema = receivedSchema.extend({ message: z.string() });

function knownCode(code: string): ErrorCode {
  return errorCodes.find((known) => known === code) ?? 'INTERNAL';
}

/** The hint of INTERNAL, that this is a fault, would be wrong of a code that is merely new. */
function received(message: string, { code, hint, details }: z.infer<typeof receivedSchema>): StrataError {
  const isNew = knownCode(code) !== code;
  return new StrataError(knownCode(code), isNew ? `${message} (${code})` : message, { hint: hint ?? (isNew ? '' : undefined), details });
}

/** The reason of a stream's close frame; something unreadable is still an error. */
export function parseErrorPayload(text: string): StrataError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const parsed = closeReasonSchema.safeParse(value);
  if (!parsed.success) return new StrataError('INTERNAL', 'the stream was closed for a reason that cannot be read');
  return received(parsed.data.message, parsed.data);
}

/** StrataError → wire. Anything else is a fault of ours: its text stays in the log, and its code is INTERNAL. */
export function toResponseError(error: unknown): ResponseError<unknown> {
  if (error instanceof ResponseError) return error;
  const known = error instanceof StrataError ? error : new StrataError('INTERNAL', 'the helper met an unexpected error');
  const data = { code: known.code, hint: known.hint, details: known.details };
  return new ResponseError(STRATA_RPC_ERROR, known.message, data);
}

/** Wire → StrataError. */
export function fromResponseError(error: unknown, method: string): StrataError {
  if (error instanceof StrataError) return error;
  if (error instanceof ResponseError) {
    const data = receivedSchema.safeParse(error.data);
    if (data.success) return received(error.message, data.data);
    return new StrataError('INTERNAL', `${method}: ${error.message}`, { cause: error });
  }
  return new StrataError('CONNECTION_CLOSED', `${method}: the connection to the helper was closed`, { cause: error });
}
