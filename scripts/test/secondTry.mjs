// Files in which a test failed are run once more, in a process, a workbench and a virtual machine of their own.

/** So many files that fail are no accident. */
const maxFiles = 4;

/**
 * A real kernel beside a busy host and a real browser have bad moments, and a whole run is too much to lose to one of them. What
 * passes only then is counted as passed and named as flaky, so that nobody overlooks it. A run without a report (the machine it
 * ran in died) is repeated as a whole.
 *
 * `run` gets the files (none: all of them) and what to add to the names of its reports.
 */
export async function withSecondTry(run) {
  const first = await run({ files: [], name: '' });
  if (first.failed === 0) return first;
  const failed = first.files.filter((file) => file.failed > 0);
  if (failed.length > maxFiles) return first;
  const second = await run({ files: failed.map((file) => file.name), name: '.second' });
  return combined(first, failed, second);
}

/** The first run's counts, but for the files that ran again. */
function combined(first, again, second) {
  const sum = (key) => first[key] - again.reduce((total, file) => total + file[key], 0) + second[key];
  const isWhole = again.length === 0;
  const failures = (files) => files.flatMap((file) => file.failures.map((test) => `${file.name}: ${test}`));
  const still = new Set(failures(second.files));
  const flaky = isWhole && second.failed === 0 ? ['(the run itself)'] : failures(again).filter((test) => !still.has(test));
  return {
    passed: isWhole ? second.passed : sum('passed'),
    failed: second.failed,
    skipped: isWhole ? second.skipped : sum('skipped'),
    files: second.files,
    flaky: second.failed === 0 ? flaky : [],
    report: `${first.report}\n[test] a second try:\n${second.report}`,
  };
}
