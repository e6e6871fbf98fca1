/** Bounds that both ends keep. */
export const LIMITS = {
  /** A text or binary message larger than this closes the connection (WebSocket close code 1009). */
  maxMessageBytes: 4 * 1024 * 1024,
  /** Requests a connection may have under way at once; one more is answered TOO_MANY_REQUESTS. */
  maxRequestsInFlight: 256,
  /** Streams a connection may have open at once. */
  maxStreams: 64,
  /** Payload of one data frame. */
  maxFrameBytes: 256 * 1024,
  /** What a receiver grants at the start of a stream and keeps topped up. */
  streamWindowBytes: 512 * 1024,
} as const;
