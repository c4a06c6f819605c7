// Owns: measuring elapsed time.

/**
 * Starts a stopwatch; returns a function that returns the elapsed milliseconds. It takes the larger of two
 * clocks: the monotonic one, because users and NTP set the wall clock back, and the wall clock, because in
 * some browsers the monotonic one stops while the machine sleeps.
 */
export function stopwatch() {
  const times = () => [performance.now(), Date.now()];
  const start = times();
  return () => Math.max(...times().map((now, n) => now - start[n]));
}
