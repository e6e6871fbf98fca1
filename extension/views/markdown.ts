import * as vscode from 'vscode';

/** Text from containers and images as it is: nothing in it may become Markdown, an icon or a link. */
export function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\`*_{}[\]()#+\-.!|<>&~$]/g, '\\$&').replaceAll(/\s+/g, ' ');
}

/** Text in a code span, whatever it holds (CommonMark: the fence is longer than any run of backticks inside). */
export function codeSpan(text: string): string {
  const oneLine = text.replaceAll(/\s+/g, ' ');
  const longest = Math.max(0, ...[...oneLine.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence} ${oneLine} ${fence}`;
}

/** A tooltip: a title, then rows of name and value (Markdown each); rows without a value are left out. */
export function detailsTooltip(title: string, rows: readonly (readonly [string, string | undefined])[]): vscode.MarkdownString {
  const tooltip = new vscode.MarkdownString(`**${escapeMarkdown(title)}**\n\n| | |\n|:--|:--|\n`, true);
  for (const [name, value] of rows) {
    // A bar ends a table cell even inside a code span.
    if (value !== undefined && value !== '') tooltip.appendMarkdown(`| ${name} | ${value.replaceAll(/(?<!\\)\|/g, '\\|')} |\n`);
  }
  return tooltip;
}
