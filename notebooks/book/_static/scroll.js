// What is wider than its place (wrap.css) says so, and the keyboard reaches it.
document.addEventListener("DOMContentLoaded", () => {
  // A plot gets a box of its own, so that what is printed beside it stays in its place.
  for (const image of document.querySelectorAll(".cell_output > img")) {
    const box = document.createElement("div");
    box.className = "picture";
    image.replaceWith(box);
    box.append(image);
  }
  const boxes = [
    "article p:has(> img)",
    ".cell_output .picture",
    ".cell_output div.frames .frame",
    ".cell_output > .output.text_html",
    ".pst-scrollable-table-container",
  ].join(", ");
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
  document.addEventListener("change", mark); // a menu shows another picture
});
