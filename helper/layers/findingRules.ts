import type { EntryQuery } from '../native/addon.ts';
import type { Severity } from '../protocol/index.ts';

/** What a check looks for: which entries, and what is said of each. */
export interface FindingRule {
  readonly id: string;
  readonly severity: Severity;
  readonly query: EntryQuery;
  /** The name alone proves nothing: the first bytes of the file have this, too. Whatever they are, it takes no time that grows faster than they do. */
  readonly contains?: RegExp;
  /** Nor do size and time: the file holds the same as that of the layer below. */
  readonly isCopy?: true;
  /** What is wrong with it, as it goes on after a path. */
  readonly message: string;
  /** How to mend it, one sentence. */
  readonly remedy: string;
}

interface SecretKind {
  readonly id: string;
  readonly what: string;
  readonly paths: readonly string[];
  readonly suffixes?: readonly string[];
  readonly contains: RegExp;
}

const secretKinds: readonly SecretKind[] = [
  {
    id: 'private-key',
    what: 'a private key',
    paths: ['id_rsa', 'id_dsa', 'id_ecdsa', 'id_ed25519'],
    suffixes: ['.pem', '.key', '.ppk'],
    contains: /-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|^PuTTY-User-Key-File/m,
  },
  { id: 'npm-token', what: 'a token of npm', paths: ['.npmrc'], contains: /_auth(?:Token)?\s*=\s*\S|_password\s*=\s*\S/ },
  { id: 'pypi-password', what: 'a password of PyPI', paths: ['.pypirc'], contains: /^[ \t]{0,16}password[ \t]{0,16}[:=][ \t]{0,16}\S/m },
  { id: 'netrc', what: 'passwords for hosts', paths: ['.netrc', '_netrc'], contains: /\bpassword\s+\S/ },
  { id: 'git-credentials', what: 'passwords of git', paths: ['.git-credentials'], contains: /:\/\/[^\s:@/]+:[^\s@/]+@/ },
  { id: 'aws-credentials', what: 'keys of AWS', paths: ['.aws/credentials'], contains: /aws_secret_access_key\s*=\s*\S/i },
  {
    id: 'google-credentials',
    what: 'keys of Google Cloud',
    paths: ['application_default_credentials.json'],
    contains: /"(?:private_key|refresh_token)"\s*:\s*"[^"]/,
  },
  {
    id: 'registry-login',
    what: 'logins to registries',
    paths: ['.docker/config.json', '.dockercfg', 'containers/auth.json'],
    contains: /"(?:auth|identitytoken)"\s*:\s*"[^"]/,
  },
  { id: 'kubernetes-login', what: 'logins to Kubernetes', paths: ['.kube/config'], contains: /\b(?:client-key-data|token|password):\s*\S/ },
  {
    id: 'environment-file',
    what: 'secrets in an environment file',
    paths: ['.env', '.env.local', '.env.production', '.env.development', '.env.staging', '.env.test'],
    contains:
      /^[ \t]{0,16}(?:export[ \t]{1,16})?\w{0,48}(?:SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIAL)\w{0,48}[ \t]{0,16}=[ \t]{0,16}["']?[^\s"'#]/im,
  },
];

const mebibyte = 1024 * 1024;
const notSecret = 'Change the secret, since everybody who has the image has it,';

function secretRules({ id, what, contains, paths, suffixes = [] }: SecretKind): FindingRule[] {
  const files: EntryQuery = { kinds: ['file'], paths, suffixes, leastBytes: 1 };
  return [
    {
      id: `deleted-${id}`,
      severity: 'high',
      query: { ...files, state: 'hidden' },
      contains,
      message: `holds ${what}, and is shipped though nobody sees it`,
      remedy: `${notSecret} and give it to the one RUN that needs it: RUN --mount=type=secret.`,
    },
    {
      id,
      severity: 'high',
      query: { ...files, state: 'seen' },
      contains,
      message: `holds ${what}`,
      remedy: `${notSecret} and hand it to the container when it starts, as a file or variable.`,
    },
  ];
}

/** Whatever the user's home is: from the home on. */
const packageCaches: readonly string[] = [
  '/var/cache/apt/archives',
  '/var/lib/apt/lists',
  '/var/cache/yum',
  '/var/cache/dnf',
  '/var/cache/libdnf5',
  '/var/cache/apk',
  '/var/cache/pacman/pkg',
  '/var/cache/zypp',
  '.cache/pip',
  '.cache/uv',
  '.cache/pypoetry',
  '.npm/_cacache',
  '.cache/yarn',
  '.yarn/cache',
  '.local/share/pnpm/store',
  '.cache/go-build',
  'go/pkg/mod/cache',
  '.cargo/registry/cache',
  '.gradle/caches',
  '.composer/cache',
];

/** Those of a kind stand together, the worst first. */
export const findingRules: readonly FindingRule[] = [
  ...secretKinds.flatMap(secretRules),
  {
    id: 'hidden-file',
    severity: 'medium',
    query: { state: 'hidden', kinds: ['file'], leastBytes: mebibyte },
    message: 'is shipped, and nobody sees it',
    remedy: 'Delete it in the step that makes it, or make it in a stage of its own and copy only what is needed.',
  },
  {
    id: 'metadata-copy',
    severity: 'medium',
    query: { kinds: ['file'], relation: 'metadataCopy', leastBytes: 4096 },
    isCopy: true,
    message: 'is shipped twice: this layer changed its mode or owner alone',
    remedy: 'Set mode and owner where the file is made: COPY --chmod and --chown, or chmod in the same RUN.',
  },
  {
    id: 'world-writable-directory',
    severity: 'medium',
    query: { state: 'seen', kinds: ['directory'], modeAny: 0o002, modeNone: 0o1000 },
    message: 'is a directory where everybody may delete what others made',
    remedy: 'Take the right to write from others (chmod o-w), or set the sticky bit (chmod +t).',
  },
  {
    id: 'world-writable-file',
    severity: 'medium',
    query: { state: 'seen', kinds: ['file'], modeAny: 0o002 },
    message: 'may be written by everybody',
    remedy: 'Take the right to write from others: chmod o-w.',
  },
  {
    id: 'identical-copy',
    severity: 'low',
    query: { kinds: ['file'], relation: 'identicalCopy', leastBytes: 4096 },
    isCopy: true,
    message: 'is shipped twice: it is the file of the layer below, unchanged',
    remedy: 'Leave it out of the step that writes it again.',
  },
  {
    id: 'package-cache',
    severity: 'low',
    query: { below: true, paths: packageCaches, leastBytes: 64 * 1024 },
    message: 'is a cache of a package manager',
    remedy: 'Remove it in the same RUN, or keep it out of the layer: RUN --mount=type=cache.',
  },
  {
    id: 'set-id-file',
    severity: 'low',
    query: { state: 'seen', kinds: ['file'], modeAny: 0o6000 },
    message: 'runs with the rights of its owner or group, whoever starts it',
    remedy: 'Take the bits away where nothing needs them (chmod a-s), or see to it that nobody but root can start it (chmod o-x).',
  },
  {
    id: 'broken-link',
    severity: 'low',
    query: { state: 'seen', kinds: ['symlink'], relation: 'brokenLink' },
    message: 'is a symbolic link to what is not there',
    remedy: 'Remove it, or make what it leads to.',
  },
];
