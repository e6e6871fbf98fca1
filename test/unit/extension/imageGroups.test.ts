import { describe, expect, it } from 'vitest';
import { hubPage, imageCount, nameOf, repositoriesOf, tagOf } from '../../../extension/model/imageGroups.ts';
import { image } from './samples.ts';

const hex = '0123456789abcdef'.repeat(4);

describe('images by repository', () => {
  it('puts each name in its repository, in the order of versions', () => {
    const images = [
      image('1', ['debian:12', 'localhost:5000/team/app:1']),
      image('2', ['debian:9', `debian@sha256:${hex}`]),
      image('3', []),
      image('4', ['app:2', 'app:10']),
    ];
    const shown = repositoriesOf(images).map((repository) => [
      repository.name,
      repository.images.map((named) => (named.reference === undefined ? nameOf(named) : tagOf(named.reference))),
      imageCount(repository),
    ]);
    expect(shown).toEqual([
      ['app', ['2', '10'], 1],
      ['debian', ['9', '12', '@0123456789ab'], 2],
      ['localhost:5000/team/app', ['1'], 1],
      ['', ['333333333333'], 1],
    ]);
    expect(repositoriesOf([...images].reverse())).toEqual(repositoriesOf(images));
  });

  it.each([
    ['debian:12', 'https://hub.docker.com/_/debian'],
    ['grafana/grafana:11', 'https://hub.docker.com/r/grafana/grafana'],
    ['quay.io/podman/hello:latest', undefined],
    ['localhost:5000/app:1', undefined],
  ])('the page of %s is %s', (reference, page) => expect(hubPage(reference)).toBe(page));
});
