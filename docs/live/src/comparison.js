/** Sinkhorn beside the exact answers. */

/** Numbers of iterations, below the cap, at which a run is looked at: 1, 2, 3, 5, 7, 10, 20, ... */
export function lookedAt(cap) {
  const caps = [1, 2, 3, 5, 7, 10, 20, 30, 50, 70].flatMap((c) => [c, 100 * c]);
  return [...new Set(caps)].filter((rounds) => rounds < cap);
}

/** A run as it went: after each number of iterations that was looked at, and at its end. */
export function traceOf(run) {
  return [...run.checkpoints, run].map(({ rounds, value: v, marginalError, status }) => ({ rounds, value: v, marginalError, status }));
}

/**
 * Two gradients where p has mass (elsewhere Sinkhorn's is -Infinity), each less its mean over the finite entries, and the
 * angle between them in degrees; null where one of them is 0 or not finite.
 */
export function compareGradients(exact, other, p) {
  const here = [...p.keys()].filter((k) => p[k] > 0);
  const centred = (numbers) => {
    const finite = here.map((k) => numbers[k]).filter(Number.isFinite);
    const mean = finite.reduce((a, b) => a + b, 0) / finite.length;
    return numbers.map((x) => (Number.isFinite(x) ? x - mean : x));
  };
  const [ours, theirs] = [centred(exact), centred(other)];
  const dot = (a, b) => here.reduce((sum, k) => sum + a[k] * b[k], 0);
  const cosine = dot(ours, theirs) / Math.sqrt(dot(ours, ours) * dot(theirs, theirs));
  const degrees = (Math.acos(Math.min(Math.max(cosine, -1), 1)) * 180) / Math.PI;
  return { ours: ours.map((x, k) => (p[k] > 0 ? x : NaN)), theirs, degrees: Number.isNaN(degrees) ? null : degrees };
}
