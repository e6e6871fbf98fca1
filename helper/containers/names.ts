import { randomInt } from 'node:crypto';

const adjectives =
  'amber ancient basalt bold bright brisk calm chalky clear coarse coastal cobalt crisp crystal deep dusty eager early fine firm folded fresh gentle glacial golden granite grey hidden hollow humble icy iron keen lively lucid marine mellow misty molten mossy narrow noble northern open pale patient polished proud quartz quick quiet rapid raw remote rugged rusty sandy silent silver slate smooth solid southern steady steep sturdy sunny swift tidal tilted tranquil upper vast velvet vivid warm western wide wild windy young'.split(
    ' ',
  );
const nouns =
  'agate arch atoll basin bay beach bluff boulder brook butte canyon cape cave chalk cliff clay coral cove crater creek crest delta dome dune esker fault fjord flint floe fold forest fossil garnet geode glacier gneiss gorge grotto gulch harbor hill inlet island jasper karst knoll lagoon lava ledge loam marble marl meadow mesa mica moraine moss notch oasis onyx opal outcrop pebble peak pinnacle plain plateau pumice quarry rapid ravine reef ridge river sandbar schist scree seam shale shoal shore silt slope spire spring strait summit talus terrace tuff valley vein vent'.split(
    ' ',
  );

/** "quiet-moraine"; with a number behind it when that is taken. `taken` must answer truly until the name is kept. */
export function generateName(taken: (name: string) => boolean, pick: (max: number) => number = randomInt): string {
  for (let attempt = 0; ; attempt += 1) {
    const words = `${adjectives[pick(adjectives.length)]}-${nouns[pick(nouns.length)]}`;
    const name = attempt < 8 ? words : `${words}-${pick(1_000_000)}`;
    if (!taken(name)) return name;
  }
}
