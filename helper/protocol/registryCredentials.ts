import * as z from 'zod';

/** Who asks a registry: as `docker login` keeps it (a name and a password, or an identity token of the registry). */
export const registryCredentialsSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('password'), username: z.string().max(1024), password: z.string().max(16_384) }),
  z.strictObject({ kind: z.literal('identityToken'), token: z.string().max(16_384) }),
]);
export type RegistryCredentials = z.infer<typeof registryCredentialsSchema>;
