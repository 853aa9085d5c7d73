package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Sums are what a serial line can have behind its texts, by the name of Line.Sum:
//
//	xor     one byte, the exclusive or of the bytes
//	sum8    one byte, the sum of the bytes modulo 256
//	zero8   one byte, with which that sum is 0 (VE.Direct)
//	nmea    "*" and two hexadecimal digits, the exclusive or behind the first byte (NMEA 0183)
//	p1      four hexadecimal digits, CRC-16/ARC (DSMR P1)
var sums = map[string]func(b []byte) string{
	"xor":   func(b []byte) string { return string([]byte{exclusive(b)}) },
	"sum8":  func(b []byte) string { return string([]byte{total(b)}) },
	"zero8": func(b []byte) string { return string([]byte{-total(b)}) },
	"nmea":  func(b []byte) string { return fmt.Sprintf("*%02X", exclusive(b[min(1, len(b)):])) },
	"p1":    func(b []byte) string { return fmt.Sprintf("%04X", arc(b)) },
}

// Sums lists the names of Line.Sum.
func Sums() []string { return slices.Sorted(maps.Keys(sums)) }

func exclusive(b []byte) (x byte) {
	for _, c := range b {
		x ^= c
	}
	return x
}

func total(b []byte) (n byte) {
	for _, c := range b {
		n += c
	}
	return n
}

// arc is CRC-16/ARC: polynomial 0x8005, the lowest bit first, begun with 0.
func arc(b []byte) uint16 {
	crc := uint16(0)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			low := crc & 1
			if crc >>= 1; low == 1 {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// check finds what is wrong with how a line speaks.
func (l *Line) check() error {
	if _, known := sums[l.Sum]; l.Sum != "" && !known {
		return fmt.Errorf("sum %q is unknown: it is one of %s", l.Sum, strings.Join(Sums(), ", "))
	}
	if l.From != 0 && l.Sum == "" {
		return fmt.Errorf("from says where a sum begins: there is no sum")
	}
	return nil
}

// frame makes what is sent of a text.
func (l *Line) frame(text []byte) []byte {
	if l.Bytes {
		text = narrow(text)
	}
	if sum := sums[l.Sum]; sum != nil {
		text = append(text, sum(text[min(l.From, len(text)):])...)
	}
	return append(text, l.End...)
}

// narrow makes one byte of each character.
func narrow(text []byte) []byte {
	b := make([]byte, 0, len(text))
	for _, r := range string(text) {
		b = append(b, byte(r))
	}
	return b
}

// wide makes one character of each byte.
func wide(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
