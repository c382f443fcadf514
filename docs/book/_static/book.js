// The theme names the search button by one word; what can be seen on it is more.
for (const button of document.querySelectorAll(".search-button-field"))
  button.ariaLabel = button.textContent.replace(/\s+/g, " ").trim();

// A pasted error message holds words that no page has: a learner's own tables, values and paths.
// Where no page has every word, the pages are found that have the rarest of them, and under each
// result stands the section that has most. Builds on Sphinx's searchtools.js.
if (typeof Search !== "undefined") {
  const FEWEST = 0.5; // of the best page's weight
  const everyWord = Search.performTermsSearch;
  const plainSummary = Search.makeSearchSummary;

  const weigh = (has, words, things) => {
    const weights = new Map();
    for (const word of words) {
      const found = things.filter((thing) => has(thing, word));
      for (const thing of found)
        weights.set(thing, (weights.get(thing) || 0) + Math.log(1 + things.length / found.length));
    }
    return [...weights].sort((a, b) => b[1] - a[1]);
  };

  Search.performTermsSearch = (words, excluded) => {
    const found = everyWord(words, excluded);
    if (found.length || words.size < 2) return found;
    const pages = new Map();
    const named = new Map();
    for (const word of words) {
      const results = everyWord(new Set([word]), excluded);
      results.forEach((result) => pages.set(result[0], result));
      named.set(word, new Set(results.map((result) => result[0])));
    }
    const ranked = weigh((page, word) => named.get(word).has(page), words, [...pages.keys()]);
    return ranked
      .filter(([, weight]) => weight >= FEWEST * ranked[0][1])
      .map(([page, weight]) => pages.get(page).with(4, weight));
  };

  Search.makeSearchSummary = (htmlText, words, anchor) => {
    const summary = plainSummary(htmlText, words, anchor) || document.createElement("p");
    const page = new DOMParser().parseFromString(htmlText, "text/html");
    page.querySelectorAll("style, script, .headerlink").forEach((node) => node.remove());
    const sections = [...page.querySelectorAll("[role=main] section section[id]")];
    const texts = new Map(sections.map((section) => [section, section.textContent.toLowerCase()]));
    const ranked = weigh((section, word) => texts.get(section).includes(word), [...words], sections);
    const [best] = ranked // a section has the words of those inside it: the smallest of equals
      .filter(([, weight]) => weight === ranked[0][1])
      .sort(([a], [b]) => texts.get(a).length - texts.get(b).length);
    if (!anchor && best) {
      const link = document.createElement("a");
      link.textContent = best[0].querySelector("h2, h3").textContent;
      summary.prepend(link, document.createElement("br"));
      setTimeout(() => {
        const result = summary.parentElement.querySelector("a");
        link.href = `${result.href.split("#")[0]}#${best[0].id}`;
      });
    }
    return summary;
  };
}
