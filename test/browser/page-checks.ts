/**
 * Functions that run inside a page: their source text is sent there. Plain JavaScript as strings, because the page has none
 * of this project's types and transpilers add helpers to functions that are turned into text.
 */

/** Elements that reach beyond the viewport and are not inside something that scrolls: a short name of each. */
export const overflowing = `() => {
  const limit = document.documentElement.clientWidth + 0.5;
  const scrolls = (element) => {
    for (let e = element.parentElement; e !== null; e = e.parentElement) {
      if (e.tagName === 'svg' || ['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX)) return true;
    }
    return false;
  };
  const found = [...document.body.querySelectorAll('*')].filter((element) => {
    const { right, left, width } = element.getBoundingClientRect();
    return width > 0 && (right > limit || left < -0.5) && !scrolls(element);
  });
  const names = found.map((element) => element.tagName + '.' + element.getAttribute('class') + ' ' + element.textContent.slice(0, 40));
  if (document.documentElement.scrollWidth > limit) names.push('the page itself: ' + document.documentElement.scrollWidth);
  return names;
}`;

/** WCAG contrast of every kind of text with what is behind it, by the text that has the least of its colours. */
export const contrasts = `() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e !== null; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const result = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    if (node.data.trim() === '' || element.closest('title') !== null) continue;
    const style = getComputedStyle(element);
    const colour = element.closest('svg') === null ? style.color : style.fill;
    const back = behind(element);
    const key = colour + ' on ' + back;
    if (seen.has(key)) continue;
    seen.add(key);
    const [a, b] = [luminance(channels(colour)), luminance(back)];
    result[key + ': ' + node.data.trim().slice(0, 30)] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return result;
}`;
