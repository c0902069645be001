// Not run: shows to the type checker that the shipped declarations fit the use that the documentation shows.
import { HubbubError, applyPatch, connect, type Hub, type PatchOp } from "/_hub/hubbub.js";

interface Line {
  author: string;
  text: string;
  at: number;
}

export async function use(): Promise<void> {
  const hub: Hub = await connect("/", { name: "ann", transports: ["ws", "poll"], mind: { notify_time() {} } });
  const watching = hub.ref("room").watch("recent", { limit: 20 }, (lines: Line[]) => lines.length, {
    onError: (error) => error.incident,
    onEnd: () => {},
  });
  watching.close();
  hub.watch("my_query", (value: number, patch) => [value.toFixed(), patch?.length]);
  hub.stream("lines", (line: string) => line.trim(), { onGap: (reason) => reason.trim() });
  await hub.ref("board", { name: "main" }).ref("layer", [1]).call("draw", { id: "x" });
  const count: number = await hub.call<number>("count");
  const off = hub.mind.on("notify_time", (t: number) => t + count);
  off();
  hub.on("state", (state) => document.body.setAttribute("data-state", state));
  hub.on("fault", (error) => error instanceof HubbubError && error.kind);
  applyPatch([1], [["s", 0, 1, []]] satisfies PatchOp[]);
  console.log(hub.transport, hub.identity.name, hub.state);
  hub.close();
}
