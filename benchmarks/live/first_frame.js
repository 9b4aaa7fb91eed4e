// Runs in the live page, before its own script: notes performance.now() of each step from the granted camera to the
// avatar on the screen, and a small copy of each of the first pictures. What the page marks itself is not here.

window.first = { steps: {}, pictures: [], stats: [] };
{
  const note = (step, at = performance.now()) => (window.first.steps[step] ??= at);
  const SIDE = 32; // px of a copy
  const copy = document.createElement("canvas");
  copy.width = copy.height = SIDE;
  const context = copy.getContext("2d", { willReadFrequently: true });
  const MOST_PICTURES = 90;

  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    note("granted");
    return stream;
  };
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      this.addEventListener("iceconnectionstatechange", () => {
        if (["connected", "completed"].includes(this.iceConnectionState)) note("ice");
      });
    }
    createDataChannel(...given) {
      const channel = super.createDataChannel(...given);
      channel.addEventListener("message", ({ data }) =>
        window.first.stats.push([performance.now(), JSON.parse(data)]));
      return channel;
    }
  };

  window.watchFirst = () => {
    const avatar = document.getElementById("avatar");
    const seen = (_, { receiveTime, presentationTime, expectedDisplayTime }) => {
      note("received", receiveTime);
      note("drawn", presentationTime);
      note("displayed", expectedDisplayTime);
      context.drawImage(avatar, 0, 0, SIDE, SIDE);
      const { data } = context.getImageData(0, 0, SIDE, SIDE);
      window.first.pictures.push([expectedDisplayTime, [...data.filter((_, index) => index % 4 === 1)]]);
      if (window.first.pictures.length < MOST_PICTURES) avatar.requestVideoFrameCallback(seen);
    };
    avatar.requestVideoFrameCallback(seen);
  };
}
