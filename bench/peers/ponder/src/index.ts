import { ponder } from "ponder:registry";
import { account } from "ponder:schema";

// as in Ponder's own ERC-20 example, without its tables for the events themselves
ponder.on("Token:Transfer", async ({ event, context }) => {
  const { from, to, amount } = event.args;
  await context.db
    .insert(account)
    .values({ address: from, balance: -amount })
    .onConflictDoUpdate((row) => ({ balance: row.balance - amount }));
  await context.db
    .insert(account)
    .values({ address: to, balance: amount })
    .onConflictDoUpdate((row) => ({ balance: row.balance + amount }));
});
