import { expect, it } from 'vitest';
import { ArchiveProcess } from '../../../helper/containers/archiveProcess.ts';

const request = { action: 'changes', upper: '/nowhere', lower: [] } as const;

it('fails with words where the runtime cannot be run', async () => {
  const process = new ArchiveProcess('/nowhere/strata-runtime', request, 'export container "web"');
  await process.ended;
  await expect(process.done).rejects.toMatchObject({
    code: 'RUNTIME_FAILED',
    message: expect.stringMatching(/^export container "web": the runtime cannot be run: .*ENOENT/) as unknown,
  });
});

it('comes to an end where the process ends without an answer', async () => {
  const process = new ArchiveProcess('/bin/false', request, 'export container "web"');
  await expect(process.stat).rejects.toMatchObject({ code: 'RUNTIME_FAILED' });
  await expect(process.done).rejects.toMatchObject({ message: 'export container "web": the process that copies was ended' });
  await process.ended;
});

it('is killed by whoever has enough of it', async () => {
  const process = new ArchiveProcess('/bin/cat', { ...request }, 'export container "web"');
  process.kill();
  await process.ended;
  await expect(process.done).rejects.toMatchObject({ code: 'RUNTIME_FAILED' });
});
