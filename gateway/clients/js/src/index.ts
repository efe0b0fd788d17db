export { Client, connect, type Options } from './client.js';
export { Core, type Action, type CoreEvents, type CoreOptions, type State, type Why } from './core.js';
export type { Value } from './held.js';
export type { Authorized, Notice, Published, Status, Subscribed, Update } from './message.js';
export type { Own } from './own.js';
export { PublishError } from './outbox.js';
export { matches } from './pattern.js';
export type { Batch, Gap, Subscription, SubscriptionEvents, SubscriptionOptions } from './subscription.js';
