package modbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/fieldloom/fieldloom/core/driver"
)

// FuzzAnswers has foreign bytes come instead of answers, and the end of the connection behind
// them: a value is Good only where an answer to the request, of the unit that was asked, is among
// them, whole and in its form.
func FuzzAnswers(f *testing.F) {
	kinds := []string{"mbap", "rtu", "ascii"}
	for kind, name := range kinds {
		codec := framings[name].codec
		for _, unit := range []byte{17, 18} {
			answer := encode(f, codec, unit, []byte{3, 4, 1, 2, 3, 4})
			for _, pieces := range []uint8{1, 5} {
				f.Add(uint8(kind), pieces, answer)
				f.Add(uint8(kind), pieces, slices.Concat([]byte{1, 0, 0}, answer))
				f.Add(uint8(kind), pieces, slices.Concat(answer[:6], answer, answer))
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind, pieces uint8, foreign []byte) {
		chosen := framings[kinds[int(kind)%len(kinds)]]
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, chosen.codec)
			var came [][]byte // to each request
			b.answer = func(_ *bus, c *busConn, a asked) {
				given := slices.Clone(foreign)
				if !b.codec.serial() && len(given) > 1 && given[0]&1 != 0 { // else hardly ever the right id
					copy(given[:2], a.adu[:2])
				}
				b.mu.Lock()
				came = append(came, slices.Concat(a.adu, given))
				b.mu.Unlock()
				for piece := range slices.Chunk(given, int(pieces)+1) {
					c.deliver(piece)
					synctest.Wait()
				}
				c.end()
			}
			l := b.link(chosen.settings, 0)
			_, poll := b.polled(l, `{"unit": 17}`, "holding:100:uint32")
			samples, _ := poll()
			if err := l.Close(t.Context()); err != nil {
				t.Error(err)
			}
			b.tasks.Wait()
			if samples[0].Quality != driver.Good {
				return
			}
			got, _ := samples[0].Value.AsUint64()
			for _, c := range came {
				adu, rest := c[:len(c)-len(foreign)], c[len(c)-len(foreign):]
				if justified(b.codec, adu, rest, uint32(got)) {
					return
				}
			}
			t.Fatalf("%d is Good, of % X", got, came)
		})
	})
}

// justified reports whether a value is that of an answer among foreign bytes, by the letter of
// the specifications and without the code that is tested.
func justified(codec framing, adu, foreign []byte, value uint32) bool {
	pdu := binary.BigEndian.AppendUint32([]byte{17, 3, 4}, value)
	switch codec.(type) {
	case rtu:
		crc := crcBitwise(pdu)
		return bytes.Contains(foreign, append(pdu, byte(crc), byte(crc>>8)))
	case ascii:
		var sum byte
		for _, c := range pdu {
			sum -= c
		}
		text := ":" + hex.EncodeToString(append(pdu, sum)) + "\r\n"
		return bytes.Contains(bytes.ToLower(foreign), []byte(text))
	}
	// On a stream frames begin at the first byte, and behind each other.
	for len(foreign) >= headerSize {
		size := lengthEnd + int(binary.BigEndian.Uint16(foreign[4:]))
		if size > len(foreign) {
			return false
		}
		if bytes.Equal(foreign[:2], adu[:2]) && bytes.Equal(foreign[2:6], []byte{0, 0, 0, 7}) && bytes.Equal(foreign[6:size], pdu) {
			return true
		}
		foreign = foreign[size:]
	}
	return false
}
