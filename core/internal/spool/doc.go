// Package spool is the durable log of a gateway: what a driver sent is stored
// here, byte for byte, before it is acknowledged.
//
// A record is one batch of one driver with its epoch and sequence. A position
// numbers the records of the spool from 1 on, without a hole and never twice. A
// mark is the highest sequence stored of one epoch of one driver; a record at or
// below its mark is a duplicate and dropped. A loss is a range of positions that
// cannot be read any more, because retention removed it or because the disk damaged
// it.
//
// The spool is a directory of append-only files of bounded size. Records that arrive
// within a few milliseconds, or a tenth of a second where nobody waits for them, are
// one group: one write, one sync, then the acknowledgements. Nothing stored is ever
// rewritten, so no flipped bit can cost more than the record it hit; every entry
// carries its own position and checksum and begins with its file's tag, so a reader
// that meets damage finds the next whole entry by itself and knows from the positions
// exactly what is missing.
// docs/adr/0002-spool.md says why this is not an embedded database.
package spool
