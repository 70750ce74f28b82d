// The most memory that this program had in use; resourceUsage() knows its parent's too.

import fs from "node:fs";

export function peakBytes() {
  const status = fs.readFileSync("/proc/self/status", "ascii");
  return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(status)[1]);
}
