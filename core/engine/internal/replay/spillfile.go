package replay

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

const (
	// maxChunk is how much is written, and read, at a time.
	maxChunk = 256 << 10
	// recordHeader goes before each frame: the checksum of the rest of the header,
	// the length of the frame, its sequence, the number of its samples, flags, and the
	// checksum of the frame.
	recordHeader = 4 + 4 + 8 + 8 + 4 + 4
	recordGap    = 1 // flag: the frame is a gap

	minSegment = 4 << 10
	maxSegment = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spillFiles are the files of a spill. Each is private, and removed from its
// directory as soon as it is open, so that nothing is left whatever ends the process.
// Write and the current segment are the mover's; the ring's mu guards the rest.
type spillFiles struct {
	dir     string
	max     int64
	segment int64 // the size of a file
	name    string
	made    int

	bytes   int64    // in all files
	current *segment // to write to; nil: make one
	writing bool
}

// A segment is one file.
type segment struct {
	file   *os.File
	path   string // empty: it was removed
	size   int64
	chunks int // that are not acknowledged
}

// A chunk is frames that were moved together; they lie in one segment.
type chunk struct {
	segment *segment
	at      int64
	size    int64
	first   uint64 // the sequence of its first frame, or of the first that its first gap is for
	last    uint64
	samples uint64
	counted uint64 // what is damaged up to this sequence is counted
}

// tells is how many samples a frame has, or says to be lost.
func (n *node) tells() uint64 {
	if n.gap != nil {
		return n.gap.Samples
	}
	return uint64(n.samples)
}

func (c *chunk) add(n *node) {
	if c.last == 0 {
		c.first = n.seq
		if n.gap != nil && n.gap.FirstSeq != 0 {
			c.first = n.gap.FirstSeq
		}
	}
	c.last = n.seq
	c.samples += n.tells()
}

func newSpillFiles(dir string, limit int64, epoch uint64) *spillFiles {
	return &spillFiles{
		dir: dir, max: limit, name: fmt.Sprintf("spill-%016x", epoch),
		segment: max(min(limit/16, maxSegment), limit/64, min(minSegment, limit)),
	}
}

// room is how many bytes can be written.
func (f *spillFiles) room() int64 { return f.max - f.bytes }

// write puts a chunk's records into a file, without a lock.
func (f *spillFiles) write(c *chunk, records []byte) error {
	if s := f.current; s == nil || s.size+int64(len(records)) > f.segment && s.size > 0 {
		fresh, err := f.create()
		if err != nil {
			return err
		}
		c.segment = fresh
	} else {
		c.segment = s
	}
	c.at, c.size = c.segment.size, int64(len(records))
	if _, err := c.segment.file.WriteAt(records, c.at); err != nil {
		if c.segment != f.current {
			c.segment.close()
		}
		return fmt.Errorf("write %d bytes of the replay ring: %w", len(records), err)
	}
	return nil
}

func (f *spillFiles) create() (*segment, error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the replay ring: %w", err)
	}
	f.made++
	path := filepath.Join(f.dir, fmt.Sprintf("%s-%d", f.name, f.made))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file of the replay ring: %w", err)
	}
	s := &segment{file: file}
	if os.Remove(path) != nil {
		s.path = path // where an open file cannot be removed
	}
	return s, nil
}

// commit takes a chunk that was written into account.
func (f *spillFiles) commit(c *chunk) {
	was := f.current
	f.current = c.segment
	c.segment.chunks++
	c.segment.size += c.size
	f.bytes += c.size
	if was != nil && was != f.current {
		f.free(was)
	}
}

// release gives a chunk up. Its file goes with the last chunk in it.
func (f *spillFiles) release(c *chunk) {
	c.segment.chunks--
	f.free(c.segment)
}

// free closes a file that holds nothing any more and is not being written to.
func (f *spillFiles) free(s *segment) {
	if s.chunks > 0 || s == f.current && f.writing {
		return
	}
	if s == f.current {
		f.current = nil
	}
	f.bytes -= s.size
	s.size = 0
	s.close()
}

func (s *segment) close() {
	_ = s.file.Close() // nothing in it is needed any more
	if s.path != "" {
		_ = os.Remove(s.path)
	}
}

// appendRecord appends a frame with its header.
func appendRecord(dst []byte, n *node) []byte {
	at := len(dst)
	flags := uint32(0)
	if n.gap != nil {
		flags = recordGap
	}
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(n.data)))
	dst = binary.LittleEndian.AppendUint64(dst, n.seq)
	dst = binary.LittleEndian.AppendUint64(dst, n.tells())
	dst = binary.LittleEndian.AppendUint32(dst, flags)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(n.data, castagnoli))
	binary.LittleEndian.PutUint32(dst[at:], crc32.Checksum(dst[at+4:], castagnoli))
	return append(dst, n.data...)
}

// A record is a frame as it was read back.
type record struct {
	seq     uint64
	samples uint64
	gap     bool
	data    []byte // nil: damaged
	size    int
}

// parseRecord reads the first record of data. It fails where not even the
// header is right, and nothing behind it can be found.
func parseRecord(data []byte) (record, bool) {
	if len(data) < recordHeader || binary.LittleEndian.Uint32(data) != crc32.Checksum(data[4:recordHeader], castagnoli) {
		return record{}, false
	}
	length := int64(binary.LittleEndian.Uint32(data[4:]))
	if length > int64(len(data)-recordHeader) {
		return record{}, false
	}
	r := record{
		seq:     binary.LittleEndian.Uint64(data[8:]),
		samples: binary.LittleEndian.Uint64(data[16:]),
		gap:     binary.LittleEndian.Uint32(data[24:])&recordGap != 0,
		size:    recordHeader + int(length),
	}
	if body := data[recordHeader:r.size]; crc32.Checksum(body, castagnoli) == binary.LittleEndian.Uint32(data[28:]) {
		r.data = body
	}
	return r, true
}
