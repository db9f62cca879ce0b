// A widget of a page without a kernel: menus exchange the picture below them.
document.addEventListener("DOMContentLoaded", () => {
  for (const frames of document.querySelectorAll("div.frames")) {
    const output = frames.closest(".cell_output") || frames.parentElement;
    // The picture or text that the page shows without this script.
    const first = [...output.querySelectorAll("img, pre")].filter(
      (shown) => !frames.contains(shown),
    );
    const menus = [...frames.querySelectorAll("select")];
    const pictures = [...frames.querySelectorAll(".frame")];
    const choose = () => {
      const wanted = JSON.stringify(menus.map((menu) => menu.value));
      let found = false;
      for (const picture of pictures) {
        const values = JSON.stringify(JSON.parse(picture.dataset.values));
        picture.hidden = values !== wanted;
        found = found || !picture.hidden;
      }
      for (const shown of first) shown.hidden = found;
    };
    for (const menu of menus) menu.addEventListener("change", choose);
    // Above the pictures, so that a menu stays where it is whatever their heights.
    output.prepend(frames);
    frames.hidden = false;
  }
});
