package spool

import "context"

// Inject makes the operations create, write, sync and end fail as f says.
func (o *Options) Inject(f func(op string) error) { o.inject = f }

// DecodeEntry reports whether b is one whole entry of a file with this tag, and
// what it holds.
func DecodeEntry(b []byte, t [8]byte) (r Record, p Position, ok bool) {
	e, ok := decodeEntry(b, t)
	if ok && e.kind == kindMarks {
		_, err := decodeMarks(e.data)
		return Record{}, e.position, err == nil
	}
	return Record{Driver: string(e.name), Epoch: e.epoch, Sequence: e.sequence, Data: e.data}, e.position, ok
}

// EncodeEntry gives the entry of a record.
func EncodeEntry(r Record, p Position, t [8]byte, index int) []byte {
	b := appendEntry(nil, kindRecord, p, &r)
	seal(b, t, index)
	return b
}

// HeadSize is what an entry takes beside its driver's name and its data.
const HeadSize = headSize

// MakeRoom does what is to be done in the background by now.
func (s *Spool) MakeRoom() { s.retention.makeRoom(context.Background()) }
