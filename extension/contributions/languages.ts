/** Logs as documents have a language, for colours and for how an editor shows them. */
const id = 'strata-log';

export const languages = [
  // By the path that logs/logUri.ts gives them: the ending ".log" alone is anybody's.
  { id, aliases: ['Strata Log'], filenamePatterns: ['**/container-log/*/*.log'] },
] as const;

export const grammars = [{ language: id, scopeName: 'source.strata-log', path: './media/strata-log.tmLanguage.json' }] as const;

/** A line's number would change whenever lines before it are dropped; a document that grows must not scroll beyond its end. */
export const languageDefaults = {
  [`[${id}]`]: {
    'editor.lineNumbers': 'off',
    'editor.scrollBeyondLastLine': false,
    'editor.folding': false,
    'editor.glyphMargin': false,
    'editor.minimap.enabled': false,
    'editor.stickyScroll.enabled': false,
    'editor.guides.indentation': false,
    'editor.occurrencesHighlight': 'off',
    'editor.renderLineHighlight': 'none',
    'editor.unicodeHighlight.ambiguousCharacters': false,
  },
} as const;
