// Order of search results, for Sphinx's `html_search_scorer`: first the chapters that are about the words searched for.
// Sphinx itself counts neither how often a word stands on a page nor which page a name of a method belongs to.
var Scorer = (() => {
  // Names of methods that a chapter is about, whether or not its title says them.
  const ABOUT = {
    'book/intersections/occupancy': ['occupancy'],
    'book/va_nerf/fusion': ['va', 'nerf', 'vaff'],
    'book/va_nerf/adversarial': ['va', 'nerf', 'vgal'],
    'book/va_nerf/comparison': ['va', 'nerf'],
    'book/va_nerf/play': ['va', 'nerf'],
    'book/refinement/method': ['dir'],
    'book/refinement/stages': ['dir'],
  };
  const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
  const searched = wordsOf(new URLSearchParams(location.search).get('q') || '');
  return {
    // A result is [page, title (of the page, or page > section), anchor, description, score, file].
    score: ([page, title, , , score]) => {
      const known = new Set([...wordsOf(title.split(' > ')[0]), ...(ABOUT[page] || [])]);
      const about = searched.length > 0 && searched.every((word) => known.has(word));
      const isChapter = page.split('/').length > 2;
      return score + (about ? 100 : 0) + (isChapter ? 4 : 0);
    },
    objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
    title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  };
})();
