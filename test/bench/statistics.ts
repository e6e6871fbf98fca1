/** Median and 5th percentile of figures that a noisy machine has skewed upwards. */
export interface Summary {
  readonly median: number;
  readonly p5: number;
  readonly count: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), p5: quantile(sorted, 0.05), count: sorted.length };
}

/** The median of the ratios pair by pair: what a comparison on a machine whose speed drifts can be trusted with. */
export function pairedRatio(values: readonly number[], others: readonly number[]): number {
  const ratios = values.flatMap((value, index) => {
    const other = others[index];
    return other === undefined ? [] : [value / other];
  });
  return summarize(ratios).median;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
