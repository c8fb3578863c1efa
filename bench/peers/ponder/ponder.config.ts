import { createConfig } from "ponder";
import { erc20 } from "./abis/erc20";

/** A whole number from the environment, or undefined. */
function number(name: string): number | undefined {
  const text = process.env[name];
  if (!text) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} must be a whole number`);
  return value;
}

function needed(name: string): string {
  const text = process.env[name];
  if (!text) throw new Error(`${name} is not set`);
  return text;
}

// Ponder asks each endpoint at most 20 times a second, and a little more after every ten seconds. The same node named N times is N
// endpoints to it: the only way to say that this node may be asked more often.
const url = needed("PEER_RPC_URL");
const rpc = Array<string>(number("PEER_RPC_COPIES") || 1).fill(url);

export default createConfig({
  ordering: process.env.PEER_ORDERING === "omnichain" ? "omnichain" : "multichain",
  database: process.env.PEER_POSTGRES_URL
    ? { kind: "postgres", connectionString: process.env.PEER_POSTGRES_URL }
    : { kind: "pglite", directory: process.env.PEER_PGLITE_DIR || ".ponder/pglite" },
  chains: {
    peer: { id: number("PEER_CHAIN_ID") ?? 31337, rpc, ethGetLogsBlockRange: number("PEER_LOGS_RANGE") },
  },
  contracts: {
    Token: {
      chain: "peer",
      abi: erc20,
      address: needed("PEER_TOKEN") as `0x${string}`,
      startBlock: number("PEER_START_BLOCK") ?? 0,
      endBlock: number("PEER_END_BLOCK"),
    },
  },
});
