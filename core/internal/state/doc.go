// Package state keeps state.db, the gateway's small durable state, and a copy of it.
//
// The database itself has no checksums: a damaged page makes it panic, and a page that was
// swapped with an older copy of itself is taken for the present one. So every change seals what
// it changed: a sum of each bucket and a generation that counts the changes, stored by the same
// transaction. Open reads the file page by page with code of its own, which trusts no number in
// it, compares the sums, and gives to the database only what is whole.
//
// The copy is made a second after a change, and when the database is closed. Where
// state.db is missing, damaged or older than its copy, it is set aside, never deleted,
// and the copy goes on in its place; where there is no copy, an empty database does.
// Findings says what was found and what is lost with it.
package state
