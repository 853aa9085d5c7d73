package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// Position numbers the records of a spool. The first record has position 1;
// position 0 means the oldest record there is.
type Position uint64

// Record is one stored batch.
type Record struct {
	Driver   string // "" for the gateway's own records
	Epoch    uint64 // the driver process that numbered it
	Sequence uint64 // 0: not numbered, so never a duplicate
	Stored   time.Time
	Data     []byte
	Names    NamesID // set by a Reader: whose names the data refers to
}

// MaxRecord bounds the data of one record, in bytes.
const MaxRecord = 16 << 20

// ErrTooLarge tells that a record exceeds MaxRecord, or its driver's name 255
// bytes.
var ErrTooLarge = errors.New("spool: record too large")

// An entry is a head, the driver's name, and the data; integers are little endian.
//
//	 0  tag       8 bytes, the file's own random number, also in its name
//	 8  checksum  CRC-32C of everything from byte 12 to the entry's end
//	12  length    of name and data
//	16  position
//	24  epoch
//	32  sequence
//	40  stored    Unix time in nanoseconds
//	48  index     of the entry in its commit group, from 0
//	52  version
//	53  kind
//	54  length of the name
//	55  zero
const (
	headSize = 56
	version  = 1
)

const (
	kindRecord  byte = 1
	kindMarks   byte = 2 // the first entry of every file: the marks before it
	kindAbout   byte = 3 // the second: what is known of this file, or of the one before
	kindRetired byte = 4 // in the place of records that retention took out
)

type tag [8]byte

// entry is a decoded entry; name and data lie in the buffer it was read from.
type entry struct {
	kind     byte
	position Position
	group    Position // the first position of its commit group
	epoch    uint64
	sequence uint64
	stored   int64
	name     []byte
	data     []byte
	start    int64 // offset in the file
	end      int64 // of the byte after it
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r *Record) check() error {
	if len(r.Driver) > math.MaxUint8 || len(r.Data) > MaxRecord {
		return fmt.Errorf("%w: driver %.40q, %d bytes", ErrTooLarge, r.Driver, len(r.Data))
	}
	return nil
}

// appendEntry encodes everything that is known before the entry's group is: seal
// adds the rest.
func appendEntry(dst []byte, kind byte, p Position, r *Record) []byte {
	var head [headSize]byte
	binary.LittleEndian.PutUint32(head[12:], uint32(len(r.Driver)+len(r.Data)))
	binary.LittleEndian.PutUint64(head[16:], uint64(p))
	binary.LittleEndian.PutUint64(head[24:], r.Epoch)
	binary.LittleEndian.PutUint64(head[32:], r.Sequence)
	binary.LittleEndian.PutUint64(head[40:], uint64(r.Stored.UnixNano()))
	head[52], head[53], head[54] = version, kind, byte(len(r.Driver))
	dst = append(dst, head[:]...)
	dst = append(dst, r.Driver...)
	return append(dst, r.Data...)
}

// seal completes the encoded entry b with its file's tag, its index in its group
// and its checksum.
func seal(b []byte, t tag, index int) {
	copy(b, t[:])
	binary.LittleEndian.PutUint32(b[48:], uint32(index))
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
}

// entrySize tells how long the entry is whose head b begins with, or 0 when b
// cannot be the head of one.
func entrySize(b []byte, t tag) int {
	if len(b) < headSize || tag(b[:8]) != t || b[52] != version || b[55] != 0 {
		return 0
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if n > MaxRecord+math.MaxUint8 || n < uint32(b[54]) {
		return 0
	}
	return headSize + int(n)
}

// decodeEntry decodes the entry that is exactly b; ok is false when it is damaged.
func decodeEntry(b []byte, t tag) (e entry, ok bool) {
	if n := entrySize(b, t); n == 0 || n != len(b) {
		return entry{}, false
	}
	if binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[12:], castagnoli) {
		return entry{}, false
	}
	p, index := binary.LittleEndian.Uint64(b[16:]), uint64(binary.LittleEndian.Uint32(b[48:]))
	if p == 0 || index >= p {
		return entry{}, false
	}
	name := headSize + int(b[54])
	return entry{
		kind:     b[53],
		position: Position(p),
		group:    Position(p - index),
		epoch:    binary.LittleEndian.Uint64(b[24:]),
		sequence: binary.LittleEndian.Uint64(b[32:]),
		stored:   int64(binary.LittleEndian.Uint64(b[40:])),
		name:     b[headSize:name:name],
		data:     b[name:len(b):len(b)],
	}, true
}
