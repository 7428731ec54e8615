// What is wrong with a page, as a list of texts. scheme is "dark" or "light".
(scheme) => {
  const wrong = [];
  const check = (ok, text) => ok || wrong.push(text);
  const root = document.documentElement;
  check(root.lang === "en", "the page has no language");
  check(document.title.length > " · workdir".length, "the page has no title");
  check(document.querySelectorAll("h1").length === 1, "there is not one h1");
  check(document.querySelectorAll("main").length === 1, "there is not one main");
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("body *:not(.scroll *)")].filter((e) => e.getBoundingClientRect().right > root.clientWidth);
    wrong.push(`the page is ${root.scrollWidth} wide in a window of ${root.clientWidth}, for ${wide.map((e) => e.outerHTML.slice(0, 80))}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  check(new Set(ids).size === ids.length, "an id is there twice");
  for (const e of document.querySelectorAll("script:not([src]), iframe, object, embed, form, svg, [style]")) {
    wrong.push(`there is a ${e.tagName}: ${e.outerHTML.slice(0, 80)}`);
  }
  for (const e of document.querySelectorAll("*")) {
    for (const a of e.attributes) {
      check(!a.name.startsWith("on"), `${e.tagName} has ${a.name}`);
    }
  }

  // Colours are painted on one pixel, whatever form they have.
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const pixel = (colors) => {
    paint.clearRect(0, 0, 1, 1);
    for (const c of colors) {
      paint.fillStyle = c;
      paint.fillRect(0, 0, 1, 1);
    }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  // WCAG 2.2, relative luminance and contrast ratio.
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => (e ? [...behind(e.parentElement), getComputedStyle(e).backgroundColor] : ["white"]);
  const back = luminance(pixel(behind(document.body)));
  check(scheme === "dark" ? back < 0.1 : back > 0.9, `a ${scheme} page has a background of luminance ${back}`);
  const seen = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = texts.nextNode(); n; n = texts.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.checkVisibility() || seen.has(e)) continue;
    seen.add(e);
    const colors = behind(e);
    const one = luminance(pixel(colors)), two = luminance(pixel([...colors, getComputedStyle(e).color]));
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    check(contrast >= 4.5, `contrast ${contrast.toFixed(2)} of ${n.data.trim().slice(0, 40)}`);
  }
  return wrong;
}
