// Shows a job's output as it comes. EventSource reconnects by itself, and says which event it saw last.
"use strict";

const MAX_CHUNKS = 5000;

const output = document.getElementById("logs");
const note = document.getElementById("logs-note");
const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
const source = new EventSource(output.dataset.logs);

function show(stream, event) {
  const bytes = Uint8Array.from(atob(JSON.parse(event.data)), (character) => character.charCodeAt(0));
  const chunk = document.createElement("span");
  chunk.className = stream;
  chunk.textContent = decoders[stream].decode(bytes, { stream: true }); // text, whatever it looks like
  const atEnd = output.scrollTop + output.clientHeight > output.scrollHeight - 20;
  output.append(chunk);
  while (output.childElementCount > MAX_CHUNKS) output.firstElementChild.remove();
  if (atEnd) output.scrollTop = output.scrollHeight;
}

source.addEventListener("stdout", (event) => show("stdout", event));
source.addEventListener("stderr", (event) => show("stderr", event));
source.addEventListener("end", (event) => {
  source.close();
  note.textContent = JSON.parse(event.data) || (output.childElementCount ? "" : "It wrote nothing.");
});
