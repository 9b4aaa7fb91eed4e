// The operator's table of nodes, twice a second; the token is in the address, as in the start link.

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
const columns = ["node", "host", "sessions", "fits", "picture_ms", "drains"];

function row(cells, kind) {
  const line = document.createElement("tr");
  for (const cell of cells) {
    const box = line.appendChild(document.createElement(kind));
    cell instanceof Node ? box.append(cell) : (box.textContent = cell);
  }
  return line;
}

function drain({ node, drains }) {
  const button = document.createElement("button");
  button.textContent = drains ? "Take new ones again" : "Drain";
  button.onclick = () =>
    fetch(`/api/fleet/nodes/${node}/drain`, { method: "POST", headers, body: JSON.stringify({ on: !drains }) });
  return button;
}

async function show() {
  const reply = await fetch("/api/fleet", { headers });
  const found = await reply.json();
  const sum = document.getElementById("sum");
  if (!reply.ok) return (sum.textContent = found.error);
  const lines = found.nodes.map((one) => row([...columns.map((name) => String(one[name] ?? "-").slice(0, 12)), drain(one)], "td"));
  document.getElementById("nodes").replaceChildren(row([...columns, ""], "th"), ...lines);
  sum.textContent = `${found.placed_anew} placed anew, ${found.refused} refused`;
}

show();
setInterval(show, 500);
