/** The wire's version. A major mismatch is refused at `hello`; minor additions are announced as capabilities, and clients take what they do not know. */
export const PROTOCOL_VERSION = { major: 1, minor: 0 } as const;

/** WebSocket subprotocol name; the helper refuses a handshake that does not offer it. */
export const SUBPROTOCOL = 'strata.v1';

/** Where the helper listens unless told otherwise. */
export const DEFAULT_SOCKET_PATH = '/run/strata/strata.sock';
