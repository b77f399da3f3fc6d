/** What becomes of a histogram when some of its bars are held: the others give way, and the total stays. */

const DIGITS = 6;

/**
 * The masses with the bars of `held` (a Map from bin to wanted mass) where they are wanted, and the rest shared by the
 * other bars in proportion to what they had, or evenly if they had nothing. A held bar gets at most what is left.
 */
export function holdBars(masses, held, total) {
  const result = masses.slice();
  let left = total;
  for (const [bin, wanted] of held) {
    result[bin] = Math.min(Math.max(wanted, 0), left);
    left = Math.max(left - result[bin], 0);
  }
  const others = [...masses.keys()].filter((bin) => !held.has(bin));
  const sharers = others.length ? others : [...held.keys()];
  const had = sharers.map((bin) => (others.length ? masses[bin] : result[bin]));
  const sum = had.reduce((a, b) => a + b, 0);
  const share = others.length ? left : total;
  sharers.forEach((bin, k) => {
    const exact = sum > 0 ? (had[k] / sum) * share : share / sharers.length;
    result[bin] = Number(exact.toPrecision(DIGITS));
  });
  return balanced(result, sharers, total);
}

/** The largest of the sharing bars takes what rounding to six digits left over. */
function balanced(masses, sharers, total) {
  const largest = sharers.reduce((a, b) => (masses[b] > masses[a] ? b : a));
  const rest = masses.reduce((sum, mass, bin) => (bin === largest ? sum : sum + mass), 0);
  const result = masses.slice();
  const digits = 15; // 1 - 0.9 is 0.1, and not 0.09999999999999998
  result[largest] = Math.max(Number((total - rest).toFixed(digits)), 0);
  return result;
}

/** The sum of masses. */
export function totalOf(masses) {
  return masses.reduce((a, b) => a + b, 0);
}

/** A round top of the axis that leaves room above the highest bar. */
export function axisTop(masses, total) {
  const most = Math.max(...masses);
  const steps = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1];
  return total * (steps.find((step) => step * total >= 1.15 * most) ?? 1);
}
