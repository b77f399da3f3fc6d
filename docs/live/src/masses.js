/** What becomes of a histogram when some of its bars are held: the others give way, and the total stays. */

const DIGITS = 6;

/**
 * The masses with the bars of `held` (a Map from bin to wanted mass) where they are wanted, and the rest shared by the
 * other bars in proportion to what they had, or evenly if they had nothing.  If more is wanted than there is, or if no bar
 * is left to take the rest, the held bars share all in proportion to what is wanted.
 */
export function holdBars(masses, held, total) {
  const wanted = (bin) => Math.max(held.get(bin), 0);
  const sum = totalOf([...held.keys()].map(wanted));
  const others = [...masses.keys()].filter((bin) => !held.has(bin));
  if (sum > total || others.length === 0) {
    return shared(masses.map(() => 0), [...held.keys()], wanted, total, total);
  }
  const base = masses.map((mass, bin) => (held.has(bin) ? wanted(bin) : mass));
  return shared(base, others, (bin) => masses[bin], total - sum, total);
}

/** The masses, but those of some bars as parts of `share` in proportion to `had`. */
function shared(masses, bins, had, share, total) {
  const sum = totalOf(bins.map(had));
  const result = masses.slice();
  for (const bin of bins) {
    const exact = sum > 0 ? (had(bin) / sum) * share : share / bins.length;
    result[bin] = Number(exact.toPrecision(DIGITS));
  }
  return balanced(result, bins, total);
}

/** The largest of the sharing bars takes what rounding to six digits left over. */
function balanced(masses, sharers, total) {
  const largest = sharers.reduce((a, b) => (masses[b] > masses[a] ? b : a));
  const rest = masses.reduce((sum, mass, bin) => (bin === largest ? sum : sum + mass), 0);
  const result = masses.slice();
  const power = total > 0 ? Math.max(Math.round(Math.log10(total)), -300) : 0;
  const left = ((total - rest) / 10 ** power).toFixed(15); // 1 - 0.9 is 0.1, and not 0.09999999999999998
  result[largest] = Math.max(Number(`${left}e${power}`), 0);
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
