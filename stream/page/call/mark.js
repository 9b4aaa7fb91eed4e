// Frames the face that is followed, on the self view, while there is another one beside it.

import { byId } from "/common/dom.js";

export function othersWords({ state, others }) {
  if (!others || !["live", "no face seen"].includes(state)) return "";
  if (state === "no face seen") return "You are not seen. The other person is followed only if you stay away.";
  const count = others === 1 ? "Two" : `${others + 1}`;
  return `${count} faces are in the picture: the one framed in your self view is followed.`;
}

// Where a face [left, top, width, height], in shares of the camera's sides, lies in a box that the picture covers.
function inBox([left, top, width, height], picture, box) {
  const scale = Math.max(box.width / picture.width, box.height / picture.height);
  const across = (share) => (share * picture.width * scale) / box.width;
  const down = (share) => (share * picture.height * scale) / box.height;
  return {
    left: 0.5 + across(left - 0.5),
    top: 0.5 + down(top - 0.5),
    width: across(width),
    height: down(height),
  };
}

export function showMark(video, { face, others }) {
  const mark = byId("mark");
  mark.hidden = !(face && others && video.videoWidth);
  if (mark.hidden) return;
  const picture = { width: video.videoWidth, height: video.videoHeight };
  const place = inBox(face, picture, { width: video.clientWidth, height: video.clientHeight });
  for (const [side, share] of Object.entries(place)) mark.style[side] = `${100 * share}%`;
}
