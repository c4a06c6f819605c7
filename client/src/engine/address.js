// Owns: the URL of one request to the server, for both transports.

/**
 * @param {{url: string, query?: Record<string, unknown>}} options `url` is scheme, host and path
 * @param {string} transport
 * @param {string} [sid]
 */
export function address(options, transport, sid) {
  const url = new URL(options.url);
  for (const [name, value] of Object.entries({ ...options.query, EIO: 4, transport, sid })) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url.href;
}

/** True if the server is on this machine: it is reachable even if the browser is offline. @param {string} url */
export const isLoopback = (url) => /^(localhost$|127\.|\[::1)/.test(new URL(url).hostname);
