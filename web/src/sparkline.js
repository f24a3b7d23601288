// @ts-check

/** Draw values as a line that fills a canvas at its displayed size. @param {HTMLCanvasElement} canvas @param {number[]} values @param {string} direction */
export function drawLine(canvas, values, direction) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  const context = canvas.getContext("2d");
  if (!context || !width || !height) return;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  if (values.length < 2) return;
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  const colours = getComputedStyle(canvas);
  const x = (at) => 1 + (at / (values.length - 1)) * (width - 4);
  const y = (value) => height - 2 - ((value - low) / range) * (height - 4);
  context.beginPath();
  values.forEach((value, at) => (at ? context.lineTo(x(at), y(value)) : context.moveTo(x(at), y(value))));
  context.strokeStyle = colours.color;
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  context.stroke();
  context.beginPath();
  context.arc(x(values.length - 1), y(values[values.length - 1]), 1.75, 0, 2 * Math.PI);
  context.fillStyle = colours.getPropertyValue(direction === "up" ? "--up" : direction === "down" ? "--down" : "--muted");
  context.fill();
}
