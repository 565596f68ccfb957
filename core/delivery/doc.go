// Package delivery hands records over to reporters: at least once, in order,
// and without one reporter ever waiting for another.
//
// Results and events go through the store's outbox, which is written in the
// same transaction as they are; each reporter has a cursor there that moves
// when a receipt says so. Snapshots are not spooled: each attempt sends a fresh
// one, so that a receiver that was away gets the newest and nothing else.
//
// The outbox is bounded in bytes and age. Whatever is dropped before a reporter
// took it, because of these bounds or because the receiver refuses it, is told
// as an event of its own.
package delivery
