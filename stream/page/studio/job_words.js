// How an enrolment stands, in words.

export const STAGES = {
  starting: "Starting",
  choosing: "Looking for what shows most of you",
  tracking: "Finding face, hands and shoulders",
  "cutting out": "Cutting you out of the background",
  "building priors": "Preparing to learn",
  training: "Learning how you look and move",
  exporting: "Packing the avatar",
  measuring: "Measuring how well it does",
  quantising: "Making it quicker",
};

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
export const share = ({ elapsed_s: done, remaining_s: left }) => `${Math.floor((100 * done) / Math.max(done + left, 1))} %`;

export function leftWords(s) {
  if (s < 1) return "nearly done";
  return s < 50 ? "less than a minute left" : `about ${Math.round(s / 60)} min left`;
}
