/** One figure of a soak, and what it may be at most. */
export interface Verdict {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly atMost?: number;
}

export function isGood({ value, atMost }: Verdict): boolean {
  return atMost === undefined || value <= atMost;
}

export function printVerdicts(title: string, verdicts: readonly Verdict[]): void {
  console.log(`\n${title}`);
  for (const verdict of verdicts) {
    const { what, value, unit, atMost } = verdict;
    const bound = atMost === undefined ? '' : `${isGood(verdict) ? 'ok' : 'NOT OK'}, at most ${atMost}`;
    console.log(`  ${what.padEnd(58)} ${`${round(value)} ${unit}`.padEnd(16)} ${bound}`);
  }
}

function round(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 2 : 1);
}

/** Least squares: by how much `y` grows with each of `x`. */
export function slope(points: readonly { readonly x: number; readonly y: number }[]): number {
  const mean = (pick: (point: { x: number; y: number }) => number): number =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  const spread = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0) / spread;
}
