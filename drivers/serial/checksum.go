package serial

import (
	"bytes"
	hexadecimal "encoding/hex"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// A checksum says which sum a frame has, over what, and where it stands. A nil one is none.
type checksum struct {
	name   string
	sum    func([]byte) uint64
	size   int  // of the sum, in bytes
	from   int  // where what is summed begins
	tail   int  // bytes of the frame behind the sum
	text   bool // the sum is written in hexadecimal digits
	little bool // its lowest byte comes first
	form   func(frame []byte) (summed, sum, content []byte, ok bool)
	zero   bool // the sum over everything, itself included, is 0
}

// verify returns what a frame holds, and why it is not to be believed: its sum is wrong, or it
// has none. An empty text: it is right.
func (c *checksum) verify(frame []byte) (content []byte, wrong string) {
	if c == nil {
		return frame, ""
	}
	if c.zero {
		if got := c.sum(frame); got != 0 {
			return frame, fmt.Sprintf("checksum %s: the sum of all bytes is %d where it is 0 in a sound frame", c.name, got)
		}
		return frame, ""
	}
	summed, field, content, ok := c.parts(frame)
	if !ok {
		return frame, fmt.Sprintf("checksum %s: the frame has none: %s", c.name, excerpt(string(frame)))
	}
	got, ok := c.read(field)
	want := c.sum(summed)
	if !ok || got != want {
		return content, fmt.Sprintf("checksum %s: %s stands in the frame, and %0*X is that of its bytes", c.name, excerpt(string(field)), 2*c.size, want)
	}
	return content, ""
}

// parts divides a frame into what is summed, the sum, and what it holds.
func (c *checksum) parts(frame []byte) (summed, field, content []byte, ok bool) {
	if c.form != nil {
		return c.form(frame)
	}
	n := c.size
	if c.text {
		n *= 2
	}
	at := len(frame) - c.tail - n
	if at < c.from || at < 0 || c.from < 0 {
		return nil, nil, nil, false
	}
	return frame[c.from:at], frame[at : at+n], frame, true
}

// read is the number that a sum's field is.
func (c *checksum) read(field []byte) (uint64, bool) {
	if c.text {
		raw := make([]byte, hexadecimal.DecodedLen(len(field)))
		if _, err := hexadecimal.Decode(raw, field); err != nil {
			return 0, false
		}
		field = raw
	} else {
		field = slices.Clone(field)
	}
	if c.little {
		slices.Reverse(field)
	}
	n := uint64(0)
	for _, b := range field {
		n = n<<8 | uint64(b)
	}
	return n, true
}

// crc is a cyclic redundancy check in the terms of the catalogue of parametrised CRC algorithms.
type crc struct {
	width        uint
	poly, init   uint64
	refIn        bool // the lowest bit of a byte comes first; of the sum too
	xorOut       uint64
	check        uint64 // of "123456789"
	littleEndian bool   // how protocols that use it send it
}

var crcs = map[string]crc{
	"crc8":              {width: 8, poly: 0x07, check: 0xF4},
	"crc8-maxim":        {width: 8, poly: 0x31, refIn: true, check: 0xA1},
	"crc8-sae-j1850":    {width: 8, poly: 0x1D, init: 0xFF, xorOut: 0xFF, check: 0x4B},
	"crc8-sensirion":    {width: 8, poly: 0x31, init: 0xFF, check: 0xF7},
	"crc16-arc":         {width: 16, poly: 0x8005, refIn: true, check: 0xBB3D, littleEndian: true},
	"crc16-modbus":      {width: 16, poly: 0x8005, init: 0xFFFF, refIn: true, check: 0x4B37, littleEndian: true},
	"crc16-usb":         {width: 16, poly: 0x8005, init: 0xFFFF, refIn: true, xorOut: 0xFFFF, check: 0xB4C8, littleEndian: true},
	"crc16-xmodem":      {width: 16, poly: 0x1021, check: 0x31C3},
	"crc16-ccitt-false": {width: 16, poly: 0x1021, init: 0xFFFF, check: 0x29B1},
	"crc16-genibus":     {width: 16, poly: 0x1021, init: 0xFFFF, xorOut: 0xFFFF, check: 0xD64E},
	"crc16-kermit":      {width: 16, poly: 0x1021, refIn: true, check: 0x2189, littleEndian: true},
	"crc16-x25":         {width: 16, poly: 0x1021, init: 0xFFFF, refIn: true, xorOut: 0xFFFF, check: 0x906E, littleEndian: true},
	"crc16-mcrf4xx":     {width: 16, poly: 0x1021, init: 0xFFFF, refIn: true, check: 0x6F91, littleEndian: true},
	"crc16-dnp":         {width: 16, poly: 0x3D65, refIn: true, xorOut: 0xFFFF, check: 0xEA82, littleEndian: true},
	"crc16-en13757":     {width: 16, poly: 0x3D65, xorOut: 0xFFFF, check: 0xC2B7},
}

// of is the sum of bytes, bit by bit: frames are short.
func (c crc) of(b []byte) uint64 {
	mask := uint64(1)<<c.width - 1
	sum := c.init
	for _, x := range b {
		v := uint64(x)
		if c.refIn {
			v = reverse(v, 8)
		}
		sum ^= v << (c.width - 8)
		for range 8 {
			high := sum>>(c.width-1)&1 == 1
			sum = sum << 1 & mask
			if high {
				sum ^= c.poly
			}
		}
	}
	if c.refIn {
		sum = reverse(sum, c.width)
	}
	return sum ^ c.xorOut
}

func reverse(v uint64, width uint) (r uint64) {
	for range width {
		r = r<<1 | v&1
		v >>= 1
	}
	return r
}

func sumOf(b []byte) (n uint64) {
	for _, c := range b {
		n += uint64(c)
	}
	return n
}

func xorOf(b []byte) (n uint64) {
	for _, c := range b {
		n ^= uint64(c)
	}
	return n
}

// checksums are those that are no CRC of eight or sixteen bits.
var checksums = map[string]checksum{
	"xor":    {size: 1, sum: xorOf},
	"sum8":   {size: 1, sum: func(b []byte) uint64 { return sumOf(b) & 0xFF }},
	"sum16":  {size: 2, sum: func(b []byte) uint64 { return sumOf(b) & 0xFFFF }},
	"lrc":    {size: 1, sum: func(b []byte) uint64 { return -sumOf(b) & 0xFF }},
	"zero8":  {size: 1, zero: true, sum: func(b []byte) uint64 { return sumOf(b) & 0xFF }},
	"crc32":  {size: 4, little: true, sum: func(b []byte) uint64 { return uint64(crc32.ChecksumIEEE(b)) }},
	"crc32c": {size: 4, little: true, sum: func(b []byte) uint64 { return uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }},
	"nmea":   {size: 1, text: true, sum: xorOf, form: nmeaParts},
	"p1":     {size: 2, text: true, sum: crcs["crc16-arc"].of, form: p1Parts},
}

// newChecksum finds a checksum by its name.
func newChecksum(name string) (*checksum, error) {
	c, known := checksums[name]
	if p, is := crcs[name]; is {
		c, known = checksum{size: int(p.width / 8), sum: p.of, little: p.littleEndian}, true
	}
	if !known {
		names := slices.Sorted(maps.Keys(checksums))
		names = append(names, slices.Sorted(maps.Keys(crcs))...)
		return nil, fmt.Errorf("%q is no checksum: use %s", name, strings.Join(names, ", "))
	}
	c.name = name
	return &c, nil
}

// nmeaParts divides a sentence: what is between its first byte, $ or !, and the * is summed
// (NMEA 0183, section 5.3).
func nmeaParts(frame []byte) (summed, sum, content []byte, ok bool) {
	star := bytes.LastIndexByte(frame, '*')
	start := bytes.LastIndexAny(frame[:max(star, 0)], "$!") // before it, one that was cut off
	if start < 0 || star < start || len(frame) < star+3 || len(bytes.TrimRight(frame[star+3:], "\r\n")) > 0 {
		return nil, nil, frame, false
	}
	return frame[start+1 : star], frame[star+1 : star+3], frame[start:star], true
}

// p1Parts divides a telegram: from / to ! is summed (DSMR P1 companion standard 5.0.2, section
// 6.2).
func p1Parts(frame []byte) (summed, sum, content []byte, ok bool) {
	start := bytes.IndexByte(frame, '/')
	end := bytes.LastIndexByte(frame, '!')
	if start < 0 || end < start || len(frame) < end+5 {
		return nil, nil, frame, false
	}
	return frame[start : end+1], frame[end+1 : end+5], frame[start : end+1], true
}
