import * as z from 'zod';

export const bytes = z.int().min(0);
/** RFC 3339, UTC where the helper took it; what an image brings has its own offset. */
export const timestamp = z.string().max(40);
