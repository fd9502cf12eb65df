// The peers on Node: node server.js PORT REDIS-or-POSTGRES. The same endpoints as bench/Web, express-session as its documentation sets it up.
import connectPg from "connect-pg-simple";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const [port, place] = process.argv.slice(2);

const openRedis = async () => {
  const client = createClient({ url: `redis://${place}`, name: "express" });
  await client.connect();
  return new RedisStore({ client });
};

const openPostgres = () => new (connectPg(session))({ conString: place, createTableIfMissing: true });
const store = place.startsWith("postgres:") ? openPostgres() : await openRedis();

const app = express();
// What the others do not do either.
app.disable("etag");
app.disable("x-powered-by");
app.get("/allocated", (_, response) => response.send("0"));
app.use(
  session({ store, secret: "of the benchmark", resave: false, saveUninitialized: false }),
);

const newCart = () => ({ user: "", changes: 0, items: [1, 2, 3].map((i) => `item-000${i}-of-the-shop`) });
const answer = (response, cart) => response.json({ changes: cart.changes, items: cart.items.length });

app.get("/plain", (_, response) => response.json({ changes: 0, items: 3 }));
app.get("/new", (request, response) => answer(response, (request.session.cart = newCart())));
app.get("/read", (request, response) => answer(response, request.session.cart));
app.get("/write", (request, response) => {
  request.session.cart.changes++;
  answer(response, request.session.cart);
});

app.listen(Number(port), "127.0.0.1");
