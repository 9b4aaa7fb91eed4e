// Elements of the page: by id, made anew, their texts and their lists.

export const byId = (id) => document.getElementById(id);
export const onClick = (id, what) => byId(id).addEventListener("click", what);

export function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text; // else screen readers repeat it
}

export const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
export const fromTemplate = (id) => byId(id).content.cloneNode(true).firstElementChild;

// A list's elements anew, one of each item; by default the items are texts.
export const fill = (id, items, make = (textContent) => element("li", { textContent })) =>
  byId(id).replaceChildren(...items.map((item) => make(item)));
