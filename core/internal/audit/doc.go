// Package audit keeps who wrote what: an append-only file of JSON lines, each with the
// hash of the one before, so that a line that was changed or taken out is found.
//
// A write has two lines. The one before it is sent says what is asked, and is on the disk
// before the device hears of it; the one after says how it ended and names the first by
// its number. A first line without a second is a write during which the gateway died.
//
// The end of the chain proves itself by nothing here: whoever can write the file can cut
// lines off. The gateway's log has the number and the hash of each write, and should be
// kept elsewhere.
package audit
