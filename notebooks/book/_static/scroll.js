// What scrolls sideways on a narrow screen (wrap.css) is reached by keyboard, too.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = "article p:has(> img), .cell_output:has(> img)";
  const reach = () => {
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  window.addEventListener("load", reach); // pictures have their size by then
  window.addEventListener("resize", reach);
});
