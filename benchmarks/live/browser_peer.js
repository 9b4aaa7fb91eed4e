// Runs in the live page, before its own script: notes [number, performance.now()] of every picture that the camera
// delivers and that the avatar's video presents, and what the server says over its data channel. Reads what
// engine/media/frame_code.py stamps.

window.glass = { local: [], remote: [], stats: [] };
{
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...args) {
    const channel = create.apply(this, args);
    channel.addEventListener("message", (event) =>
      window.glass.stats.push([performance.now(), JSON.parse(event.data)]));
    return channel;
  };
  const marker = [1, 0, 1, 1, 0, 0, 1, 0];
  const crc8 = (number) => {
    let crc = 0x5a;
    for (const byte of [number >> 8, number & 255]) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 128 ? ((crc << 1) ^ 7) & 255 : crc << 1;
    }
    return crc;
  };
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [32, 16]; // 4 px a block
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (picture, width) => {
    context.drawImage(picture, 0, 0, width / 4, width / 8, 0, 0, 32, 16);
    const pixels = context.getImageData(0, 0, 32, 16).data;
    const level = (row, column) => {
      let sum = 0;
      for (const dy of [1, 2]) for (const dx of [1, 2]) {
        const at = 4 * ((4 * row + dy) * 32 + 4 * column + dx);
        sum += pixels[at] + pixels[at + 1] + pixels[at + 2];
      }
      return sum / 12;
    };
    const top = marker.map((_, column) => level(0, column));
    const black = top.filter((_, column) => !marker[column]);
    const white = top.filter((_, column) => marker[column]);
    if (Math.min(...white) - Math.max(...black) < 60) return null;
    const mean = (values) => values.reduce((a, b) => a + b) / values.length;
    const middle = (mean(black) + mean(white)) / 2;
    const bit = (row, column) => (level(row, column) > middle ? 1 : 0);
    const byte = (row) => marker.reduce((sum, _, column) => sum * 2 + bit(row, column), 0);
    const number = byte(1) * 256 + byte(2);
    return byte(3) === crc8(number) ? number : null;
  };
  const readCamera = async (track) => {
    // frames as the camera delivers them: the page's own preview is shown later than that
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const at = performance.now();
      window.glass.local.push([read(next.value, next.value.displayWidth), at]);
      next.value.close();
    }
  };
  window.watchGlass = () => {
    const presenter = document.getElementById("presenter");
    presenter.addEventListener("loadedmetadata", () => readCamera(presenter.srcObject.getVideoTracks()[0]));
    const avatar = document.getElementById("avatar");
    const seen = () => {
      const at = performance.now();
      if (avatar.videoWidth) window.glass.remote.push([read(avatar, avatar.videoWidth), at]);
      avatar.requestVideoFrameCallback(seen);
    };
    avatar.requestVideoFrameCallback(seen);
  };
}
