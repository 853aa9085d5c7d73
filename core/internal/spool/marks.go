package spool

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// maxEpochs is how many epochs of one driver are remembered: enough for a pool of
// sixteen processes and as many spares, both twice during an upgrade, and as many
// late replays of processes before them. Their number is one byte in the encoding.
const maxEpochs = 128

type mark struct{ epoch, sequence uint64 }

// marks holds, for each driver, the highest sequence of its latest epochs, the
// most recently used epoch last.
type marks map[string][]mark

// has reports whether the record is at or below its mark.
func (m marks) has(driver string, epoch, sequence uint64) bool {
	if sequence == 0 {
		return false
	}
	last, ok := m.sequence(driver, epoch)
	return ok && sequence <= last
}

func (m marks) raise(driver string, epoch, sequence uint64) {
	if sequence == 0 {
		return
	}
	list := m[driver]
	i := slices.IndexFunc(list, func(k mark) bool { return k.epoch == epoch })
	switch {
	case i == len(list)-1 && i >= 0:
		list[i].sequence = max(list[i].sequence, sequence)
		return
	case i >= 0:
		sequence = max(sequence, list[i].sequence)
		list = slices.Delete(list, i, i+1)
	case len(list) == maxEpochs:
		list = slices.Delete(list, 0, 1)
	}
	m[driver] = append(list, mark{epoch, sequence})
}

// last gives the mark of the epoch used last.
func (m marks) last(driver string) mark {
	list := m[driver]
	if len(list) == 0 {
		return mark{}
	}
	return list[len(list)-1]
}

// sequence looks from the epoch used last, which most records are of.
func (m marks) sequence(driver string, epoch uint64) (uint64, bool) {
	for _, k := range slices.Backward(m[driver]) {
		if k.epoch == epoch {
			return k.sequence, true
		}
	}
	return 0, false
}

func (m marks) clone() marks {
	c := make(marks, len(m))
	for driver, list := range m {
		c[driver] = slices.Clone(list)
	}
	return c
}

// encode writes, for each driver, the length of its name, the name, the number of
// epochs, and the epochs with their sequences.
func (m marks) encode() []byte {
	var b []byte
	for _, driver := range slices.Sorted(maps.Keys(m)) {
		b = append(b, byte(len(driver)))
		b = append(b, driver...)
		b = append(b, byte(len(m[driver])))
		for _, k := range m[driver] {
			b = binary.LittleEndian.AppendUint64(b, k.epoch)
			b = binary.LittleEndian.AppendUint64(b, k.sequence)
		}
	}
	return b
}

var errMarks = errors.New("spool: marks: cut short")

func decodeMarks(b []byte) (marks, error) {
	m := marks{}
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < n+2 {
			return nil, errMarks
		}
		driver, epochs := string(b[1:n+1]), int(b[n+1])
		b = b[n+2:]
		if len(b) < epochs*16 {
			return nil, errMarks
		}
		for ; epochs > 0; epochs-- {
			m.raise(driver, binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
			b = b[16:]
		}
	}
	return m, nil
}
