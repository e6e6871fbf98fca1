// docs/protocol.md, from helper/protocol: what a client in another language needs to know.
import { z } from 'zod';
import { inProject } from './paths.mjs';

const preamble = `<!-- Generated from helper/protocol by \`npm run generate\`. -->
# Protocol

JSON-RPC 2.0 in WebSocket text frames, streams in binary frames; by default over the unix socket \`/run/strata/strata.sock\`.
The first message is \`hello\`. Schemas are JSON Schema 2020-12. What a client sends is held to them to the letter; a client takes answers,
events and errors that say more than it knows (fields, events, codes), for a later minor version of the helper may.
`;

/** Shown on one line: short ones are read at a glance, long ones are for programs. */
function schemaText(schema) {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' });
  return ['```json', JSON.stringify(json, null, 1).replace(/\n\s*/g, ' '), '```'];
}

function methodSection([name, { doc, role, timeoutMs, params, result }]) {
  const bound = timeoutMs === 0 ? 'no time limit' : `within ${timeoutMs / 1000} s`;
  return [
    `### \`${name}\``,
    doc,
    '',
    `Role \`${role}\`, ${bound}.`,
    '',
    'Params:',
    ...schemaText(params),
    'Result:',
    ...schemaText(result),
    '',
  ];
}

function eventSection([name, { doc, params }]) {
  return [`### \`${name}\``, doc, '', ...schemaText(params), ''];
}

function errorRow([code, { retryable, hint }]) {
  return `| \`${code}\` | ${retryable ? 'yes' : 'no'} | ${hint.replaceAll('|', '\\|')} |`;
}

export async function protocolDocument() {
  const { methods, events, eventLineSchema, ERRORS } = await import(inProject('helper/protocol/index.ts'));
  const lines = [
    preamble,
    '## Methods',
    ...Object.entries(methods).flatMap(methodSection),
    '## Events',
    ...Object.entries(events).flatMap(eventSection),
    '## Lines of `events.stream`',
    'What they mean: docs/events.md.',
    '',
    ...schemaText(eventLineSchema),
    '',
    '## Errors',
    'An error carries `data: { code, hint?, details? }`. Branch on the code, never on the message.',
    '',
    '| code | may succeed later by itself | what to do |',
    '|---|---|---|',
    ...Object.entries(ERRORS).map(errorRow),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}
