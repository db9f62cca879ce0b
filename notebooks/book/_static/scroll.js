// What scrolls sideways on a narrow screen (wrap.css) says so, and the keyboard reaches it.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = "article p:has(> img), .cell_output:has(img)";
  const mark = () => {
    for (const box of document.querySelectorAll(boxes)) {
      const wide = box.scrollWidth > box.clientWidth;
      box.toggleAttribute("data-wide", wide);
      if (wide) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  window.addEventListener("load", mark); // pictures have their size by then
  window.addEventListener("resize", mark);
});
