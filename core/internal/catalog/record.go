package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A record is a version byte, its content, and the CRC-32C of both: the data base itself does
// not notice a flipped bit.
const (
	recordVersion = 1
	sumSize       = 4
	maxString     = 1024
	maxPoints     = 1 << 20 // of a table
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A hash identifies a table by its content.
type hash [16]byte

func hashOf(record []byte) hash {
	sum := sha256.Sum256(record)
	return hash(sum[:])
}

// A blockRecord is what is stored of a block, under its first handle.
type blockRecord struct {
	count        uint32
	names, units hash
	link, device string
}

func (r *blockRecord) encode() []byte {
	b := []byte{recordVersion}
	b = binary.AppendUvarint(b, uint64(r.count))
	b = append(b, r.names[:]...)
	b = append(b, r.units[:]...)
	b = appendString(b, r.link)
	b = appendString(b, r.device)
	return seal(b)
}

func decodeBlock(record []byte) (*blockRecord, error) {
	d, err := open(record)
	if err != nil {
		return nil, err
	}
	r := &blockRecord{}
	count := d.uvarint(maxPoints)
	r.count = uint32(count)
	copy(r.names[:], d.bytes(len(r.names)))
	copy(r.units[:], d.bytes(len(r.units)))
	r.link = d.string()
	r.device = d.string()
	if err := d.finish(); err != nil {
		return nil, err
	}
	if r.count == 0 {
		return nil, errors.New("a block without handles")
	}
	return r, nil
}

// encodeStrings makes the record of a table's names or units.
func encodeStrings(list []string) []byte {
	b := []byte{recordVersion}
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return seal(b)
}

func decodeStrings(record []byte) ([]string, error) {
	d, err := open(record)
	if err != nil {
		return nil, err
	}
	// Every string takes a byte at least, so a wrong count allocates nothing.
	n := d.uvarint(uint64(min(maxPoints, len(d.rest))))
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.string())
	}
	return list, d.finish()
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// A decoder reads the content of a record. After the first fault it reads zeros.
type decoder struct {
	rest []byte
	err  error
}

func open(record []byte) (*decoder, error) {
	if len(record) < 1+sumSize {
		return nil, fmt.Errorf("only %d bytes", len(record))
	}
	content, sum := record[:len(record)-sumSize], record[len(record)-sumSize:]
	if binary.LittleEndian.Uint32(sum) != crc32.Checksum(content, castagnoli) {
		return nil, errors.New("wrong checksum")
	}
	if content[0] != recordVersion {
		return nil, fmt.Errorf("version %d, not %d: written by a newer gateway", content[0], recordVersion)
	}
	return &decoder{rest: content[1:]}, nil
}

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.err == nil && (n <= 0 || v > most) {
		d.err = errors.New("a number that cannot be right")
	}
	if d.err != nil {
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n int) []byte {
	if d.err == nil && n > len(d.rest) {
		d.err = errors.New("cut short")
	}
	if d.err != nil {
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string() string {
	return string(d.bytes(int(d.uvarint(maxString))))
}

func (d *decoder) finish() error {
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.rest))
	}
	return d.err
}
