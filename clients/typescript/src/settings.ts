import { isIPv4 } from "node:net";

import { type ChannelCredentials, type ChannelOptions, credentials, Metadata } from "@grpc/grpc-js";

/** Certificates for TLS, each as PEM. */
export interface TlsOptions {
  /** The authorities to trust. Default: those that Node trusts. */
  ca?: string | Uint8Array;
  /** The client's own certificate chain, where the server asks for one (mTLS). With `key`. */
  cert?: string | Uint8Array;
  /** The private key of `cert`. */
  key?: string | Uint8Array;
}

/** How long a client keeps trying, in milliseconds. */
export interface RetryOptions {
  /** For how long a call that found the service unavailable is made again. Default: 5,000. */
  retryForMs?: number;
  /** For how long an interrupted stream is resumed without hearing anything. Default: 300,000. */
  resumeForMs?: number;
  /**
   * How often a quiet watch wants to hear from the server. After twice that and a second in
   * silence, the watch takes its connection for dead. Held within 1 s and 5 min. Default: 50,000.
   */
  heartbeatMs?: number;
}

/** A client's settings. */
export interface ClientOptions {
  /**
   * `host:port` or `unix:PATH` of the server. Default: the environment variable
   * JOBENGINE_ADDRESS, else `127.0.0.1:50051`.
   */
  address?: string;
  /** Whether, or how, to encrypt. Default: not. */
  tls?: boolean | TlsOptions;
  /**
   * Bearer token, sent with every call; a function is asked before each. Only with TLS, or to
   * this machine itself.
   */
  token?: string | (() => string);
  /** Further headers, sent with every call. */
  metadata?: Readonly<Record<string, string>>;
  /** How long each call with a single answer may take, retries included. Default: 30,000. */
  timeoutMs?: number;
  /** How long the client keeps trying. */
  retry?: RetryOptions;
  /** gRPC channel options, which overrule this client's own. */
  channelOptions?: ChannelOptions;
}

/** A client's settings, checked, with nothing left open. */
export interface Settings {
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly timeoutMs: number;
  readonly retry: Readonly<Required<RetryOptions>>;
  /** After how long without a message a watch takes its connection for dead. */
  readonly silenceMs: number;
  /** The headers of the next call. */
  readonly metadata: () => Metadata;
}

const DEFAULT_ADDRESS = "127.0.0.1:50051";
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  // A connection that is silently dead is noticed within 40 s. The server permits a ping every
  // 10 s, and would cut off a client that pings more often.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // A new channel is to get a new connection, not that of one given up as dead.
  "grpc.use_local_subchannel_pool": 1,
  // gRPC's own delays between connection attempts grow to 2 min, which would keep a client away
  // from a server that has long come back.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 1_000,
};

/**
 * Fill in and check a client's settings.
 *
 * @throws TypeError or RangeError naming the setting that is wrong
 */
export function resolveSettings(options: ClientOptions): Settings {
  const address = options.address || process.env["JOBENGINE_ADDRESS"] || DEFAULT_ADDRESS;
  const onThisMachine = isLoopback(address);
  if (options.token !== undefined && !options.tls && !onThisMachine) {
    throw new TypeError(
      `token would be sent to ${address} unencrypted: set tls, or use an address of this machine`,
    );
  }
  const retry = {
    retryForMs: milliseconds("retry.retryForMs", options.retry?.retryForMs ?? 5_000),
    resumeForMs: milliseconds("retry.resumeForMs", options.retry?.resumeForMs ?? 300_000),
    heartbeatMs: hold(milliseconds("retry.heartbeatMs", options.retry?.heartbeatMs ?? 50_000)),
  };
  return {
    address,
    credentials: channelCredentials(options.tls ?? false),
    channelOptions: {
      ...CHANNEL_OPTIONS,
      // An http_proxy in the environment isn't meant for this machine's own addresses.
      ...(onThisMachine && { "grpc.enable_http_proxy": 0 }),
      ...options.channelOptions,
    },
    timeoutMs: milliseconds("timeoutMs", options.timeoutMs ?? 30_000),
    retry,
    silenceMs: 2 * retry.heartbeatMs + 1_000,
    metadata: () => headers(options),
  };
}

/**
 * A number of milliseconds; Infinity means for ever.
 *
 * @throws RangeError if it is no such number
 */
export function milliseconds(field: string, value: number): number {
  if (!(value >= 0)) {
    throw new RangeError(`${field} is ${value}: give a number of milliseconds, 0 or more`);
  }
  return value;
}

/** What the server makes of a heartbeat interval. */
function hold(heartbeatMs: number): number {
  return Math.round(Math.min(Math.max(heartbeatMs, 1_000), 300_000));
}

function isLoopback(address: string): boolean {
  if (address.startsWith("unix:")) {
    return true;
  }
  const host = address.replace(/^(dns|ipv4|ipv6):(\/\/[^/]*\/)?/, "").replace(/:\d+$/, "");
  return host === "localhost" || host === "[::1]" || (isIPv4(host) && host.startsWith("127."));
}

function channelCredentials(tls: boolean | TlsOptions): ChannelCredentials {
  if (tls === false) {
    return credentials.createInsecure();
  }
  const { ca, key, cert } = tls === true ? {} : tls;
  return credentials.createSsl(pem(ca), pem(key), pem(cert));
}

function pem(content: string | Uint8Array | undefined): Buffer | null {
  return content === undefined ? null : Buffer.from(content);
}

function headers(options: ClientOptions): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(options.metadata ?? {})) {
    metadata.set(key, value);
  }
  if (options.token !== undefined) {
    const token = typeof options.token === "function" ? options.token() : options.token;
    metadata.set("authorization", `Bearer ${token}`);
  }
  return metadata;
}
